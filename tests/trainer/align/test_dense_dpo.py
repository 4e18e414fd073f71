"""Steps of dense DPO with pictures, against plain transformers and against plain DPO."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from mmreward_trainer.align.dense_dpo import DenseDPOConfig, DenseDPOTrainer
from mmreward_trainer.align.token_weights import DenseWeights
from transformers import AutoProcessor

from .conftest import Policies
from .steps import (
    Log,
    loss_of,
    moved,
    padded_left,
    plain_models,
    plain_token_log_probs,
    rows_of,
    settings,
)


@pytest.fixture(scope="module")
def dense(policies: Policies, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Builds dense trainers whose policies have moved as those of `mm_dpo` have."""

    def build(weights: DenseWeights | None = None, **more: Any) -> Any:
        trainer = DenseDPOTrainer(
            model=str(policies()),
            args=DenseDPOConfig(**settings(tmp_path_factory.mktemp("dense"), **more)),
            weights=weights,
            train_dataset=Dataset.from_list(rows_of(4)),
        )
        moved(trainer)
        return trainer

    return build


def test_with_weights_of_one_dense_dpo_is_dpo(
    dense: Callable[..., Any], mm_dpo: Callable[..., Any]
) -> None:
    """To the last bit."""
    sums = DenseWeights(gamma=1.0, normalise=False, insertions=True, whole_sequence=False)
    found = loss_of(dense(sums, beta=0.1), rows_of(4, (1, 2)))
    assert found == loss_of(mm_dpo(beta_rule="plain"), rows_of(4, (1, 2)))


@pytest.mark.parametrize("form", ["paper", "released"])
def test_a_dense_step_is_that_of_plain_transformers(
    dense: Callable[..., Any], policies: Policies, form: str
) -> None:
    """Weights from the answers' own tokens, in policy and reference, padding on either side."""
    trainer = dense(form=form)
    gamma, beta = {"paper": (5.0, 0.5), "released": (1.1, 0.1)}[form]
    models = plain_models(trainer, policies())
    losses = []
    for row in rows_of(4, (1, 2)):
        sides = {
            side: [plain_token_log_probs(model, policies(), row, side) for model in models]
            for side in ("chosen", "rejected")
        }
        # The end of the prompt's turn as the template writes it: the context of the comparison.
        context = AutoProcessor.from_pretrained(policies()).tokenizer("<|im_start|>assistant\n")
        changed = dict(
            zip(
                sides,
                trainer.weights.changed(
                    [0, *context.input_ids], sides["chosen"][0][1], sides["rejected"][0][1]
                ),
                strict=True,
            )
        )
        assert any(changed["rejected"])
        ratios = {}
        for side, (policy, reference) in sides.items():
            weights = [gamma if flag else 1.0 for flag in changed[side]]
            total = sum(
                weight * (float(p) - float(q))
                for weight, p, q in zip(weights, policy[0], reference[0], strict=True)
            )
            ratios[side] = total / sum(weights) if form == "paper" else total
        lead = torch.tensor(beta * (ratios["chosen"] - ratios["rejected"]))
        losses.append(float(-F.logsigmoid(lead)))
    batch = trainer.data_collator(rows_of(4, (1, 2)))
    turned = padded_left(copy.copy(batch))
    trainer.model.eval()
    for one in (batch, turned):
        with torch.no_grad():
            assert float(trainer.compute_loss(trainer.model, one)) == pytest.approx(
                sum(losses) / 4, rel=2e-4
            )


def test_a_dense_run_logs_what_was_corrected(dense: Callable[..., Any]) -> None:
    """Shares of tokens, and the pairs in which nothing was."""
    trainer = dense(form="paper", max_steps=1, save_strategy="no")
    trainer.train()
    line: Log = next(one for one in trainer.state.log_history if "changed/chosen" in one)
    assert 0 < line["changed/chosen"] < 1
    assert line["pairs/without_change"] == 0


def test_a_cut_answer_is_no_correction(dense: Callable[..., Any]) -> None:
    """What truncation takes away would weigh as a change."""
    with pytest.raises(ValueError, match="max_length"):
        dense(max_length=64)
