"""Steps of MM-DPO with pictures, against plain transformers and against TRL."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from mmreward_client import dynamic_beta
from mmreward_trainer.align.margins import Margin, MarginError, Row
from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer
from mmreward_trainer.align.trainer import TokenLogProbs
from mmreward_trainer.critique.trainer import NotFiniteLoss
from peft import LoraConfig
from trl import DPOConfig, DPOTrainer

from .conftest import Policies
from .steps import (
    DELTAS,
    Log,
    loss_of,
    moved,
    padded_left,
    plain_models,
    plain_token_log_probs,
    rows_of,
    settings,
)


@pytest.mark.parametrize(
    ("family", "pictures"),
    [("qwen2_5_vl", (1, 2)), ("qwen3_vl", (2,)), ("llava_onevision", (1,))],
)
def test_a_step_is_that_of_plain_transformers(
    mm_dpo: Callable[..., Any], policies: Policies, family: str, pictures: Sequence[int]
) -> None:
    """Pictures, several of them, padding on either side: the paper's loss with SFT term."""
    trainer = mm_dpo(family, pictures, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.25])
    policy, reference = plain_models(trainer, policies(family))
    losses, nll, tokens = [], 0.0, 0
    for row, delta in zip(rows_of(4, pictures), DELTAS, strict=True):
        if delta is None:
            continue
        sums = {}
        for side in ("chosen", "rejected"):
            found, ids = plain_token_log_probs(policy, policies(family), row, side)
            other, _ = plain_token_log_probs(reference, policies(family), row, side)
            sums[side] = float(found.sum() - other.sum())
            if side == "chosen":
                nll, tokens = nll - float(found.sum()), tokens + len(ids)
        lead = torch.tensor(dynamic_beta(delta) * (sums["chosen"] - sums["rejected"]))
        losses.append(float(-F.logsigmoid(lead)))
    expected = sum(losses) / 3 + 0.25 * nll / tokens
    assert max(losses) > min(losses) + 0.01
    batch = trainer.data_collator(rows_of(4, pictures, delta=DELTAS))
    trainer.model.eval()
    for one in (batch, padded_left(batch)):
        with torch.no_grad():
            assert float(trainer.compute_loss(trainer.model, one)) == pytest.approx(
                expected, rel=2e-4
            )
    assert not torch.equal(batch["attention_mask"], padded_left(batch)["attention_mask"])


def test_without_a_beta_of_its_own_a_pair_has_trls_loss(
    mm_dpo: Callable[..., Any], policies: Policies, tmp_path: Path
) -> None:
    """`plain` with the SFT term against TRL's own trainer on the same weights and batch."""
    types = {"loss_type": ["sigmoid", "sft"], "loss_weights": [0.7, 0.5]}
    ours = mm_dpo(beta_rule="plain", **types)
    theirs = DPOTrainer(
        model=str(policies()),
        args=DPOConfig(**settings(tmp_path, **types, remove_unused_columns=False)),
        train_dataset=Dataset.from_list(rows_of(4)),
    )
    moved(theirs)
    theirs.model.eval()
    with torch.no_grad():
        expected = float(theirs.compute_loss(theirs.model, theirs.data_collator(rows_of(4))))
    assert loss_of(ours, rows_of(4)) == pytest.approx(expected, rel=1e-6)


def test_a_step_is_the_same_however_it_is_cut(mm_dpo: Callable[..., Any]) -> None:
    """A dropped pair is one less in the mean of the step, not of its own small batch."""
    trainer = mm_dpo(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.25])
    kept = [i for i, delta in enumerate(DELTAS) if delta is not None]

    def step(cut: list[list[int]]) -> tuple[float, torch.Tensor]:
        rows = rows_of(4, delta=DELTAS)
        batches = [trainer.data_collator([rows[i] for i in part]) for part in cut]
        device = torch.device("cpu")
        batches, totals = trainer.get_batch_samples(iter(batches), len(batches), device)
        trainer.model.train()
        trainer.model.zero_grad()
        total = 0.0
        for batch in batches:
            loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=totals)
            loss.backward()
            total += float(loss.detach())
        gradient = trainer.model.get_output_embeddings().weight.grad
        return total, gradient.clone()

    whole, gradient = step([[0, 1, 2, 3]])
    for cut in ([[0], [1], [2], [3]], [[0, 1], [2, 3]], [kept], [[1], kept]):
        loss, other = step(cut)
        assert loss == pytest.approx(whole, rel=1e-5)
        torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_dropped_pair_without_a_finite_loss_has_no_part_either(
    mm_dpo: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Loss and gradient are those of the others; a policy that fails there stops with the row."""
    trainer = mm_dpo(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.25])
    plain = trainer._token_log_probs
    broken = ""

    def log_probs(model: Any, batch: Any) -> TokenLogProbs:
        found = plain(model, batch)
        added = torch.zeros_like(found.reference)
        added[DELTAS.index(None)] = value
        if broken == "":
            return found
        return replace(found, **{broken: getattr(found, broken) + added})

    def step(rows: list[Row]) -> tuple[float, torch.Tensor]:
        trainer.model.train()
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
        loss.backward()
        return float(loss.detach()), trainer.model.get_output_embeddings().weight.grad.clone()

    monkeypatch.setattr(trainer, "_token_log_probs", log_probs)
    expected, gradient = step(rows_of(4, delta=DELTAS))
    broken = "reference"
    loss, other = step(rows_of(4, delta=DELTAS))
    assert loss == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(other, gradient)
    # A batch that is dropped as a whole has a gradient of zero still.
    loss, other = step(rows_of(2, delta=[None, None]))
    assert loss == 0
    assert not other.any()
    broken = "policy"
    with pytest.raises(NotFiniteLoss, match="rows 2 of a batch"):
        step(rows_of(4, delta=DELTAS))


def test_a_pair_without_a_margin_can_have_beta0(mm_dpo: Callable[..., Any]) -> None:
    """Which is the beta of a margin of zero."""
    trainer = mm_dpo(without_margin="beta0")
    zero = [0.0 if one is None else one for one in DELTAS]
    found = loss_of(trainer, rows_of(4, delta=DELTAS))
    assert found == pytest.approx(loss_of(trainer, rows_of(4, delta=zero)), rel=1e-6)
    dropping = mm_dpo(without_margin="drop")
    assert found != pytest.approx(loss_of(dropping, rows_of(4, delta=DELTAS)), rel=1e-3)


def test_the_log_tells_betas_margins_and_what_was_dropped(
    mm_dpo: Callable[..., Any], policies: Policies, tmp_path: Path
) -> None:
    """Over the pairs of a line, not over batches; the validation loss leaves dropped pairs out."""
    trainer = MMDPOTrainer(
        model=str(policies()),
        args=MMDPOConfig(
            **settings(tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=4,
                       max_steps=1, per_device_eval_batch_size=3, save_strategy="no")
        ),
        train_dataset=Dataset.from_list(rows_of(4, delta=[-1.0, None, 0.0, 40.0])),
        eval_dataset=Dataset.from_list(rows_of(4, delta=[None, 1.0, None, None])),
    )  # fmt: skip
    assert trainer.lacking == {"null": 1}
    trainer.train()
    line: Log = next(one for one in trainer.state.log_history if "beta/mean" in one)
    assert (line["pairs/used"], line["pairs/dropped"], line["pairs/without_margin"]) == (3, 1, 1)
    assert line["delta/mean"] == pytest.approx(13.0)
    assert line["delta/p50"] == pytest.approx(0.0)
    assert line["beta/mean"] == pytest.approx((0.1 + 0.1 + 0.15) / 3)
    assert line["beta/at_lower"] == pytest.approx(2 / 3)
    assert line["beta/at_upper"] == pytest.approx(1 / 3)
    found = trainer.evaluate()
    assert found["eval_pairs/dropped"] == 3
    only = loss_of(trainer, rows_of(4, delta=[None, 1.0, None, None])[1:2])
    assert found["eval_loss"] == pytest.approx(only, rel=1e-5)


def test_another_source_of_margins_is_asked_for_each_batch(
    policies: Policies, tmp_path: Path
) -> None:
    """With the rows as they are in the data set; within the step, it warns, without workers."""

    class FromText:
        def margins(self, rows: Sequence[Row]) -> list[Margin]:
            return [Margin(float(len(row["chosen"][0]["content"])) / 10) for row in rows]

    def build(workers: int) -> MMDPOTrainer:
        return MMDPOTrainer(
            model=str(policies()),
            args=MMDPOConfig(**settings(tmp_path, dataloader_num_workers=workers)),
            margin_source=FromText(),
            train_dataset=Dataset.from_list(rows_of(2)),
        )

    with pytest.warns(UserWarning, match="dataloader_num_workers is 0"):
        trainer = build(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="dataloader_num_workers")
        build(1)
    moved(trainer)
    lengths = [len(row["chosen"][0]["content"]) / 10 for row in rows_of(2)]
    from_column = loss_of(trainer, rows_of(2))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="dataloader_num_workers")
        other = MMDPOTrainer(
            model=str(policies()),
            args=MMDPOConfig(**settings(tmp_path)),
            train_dataset=Dataset.from_list(rows_of(2, delta=lengths)),
        )
    moved(other)
    assert loss_of(other, rows_of(2, delta=lengths)) == pytest.approx(from_column, rel=1e-6)


def test_the_released_implicit_rule_has_one_beta_for_a_batch(mm_dpo: Callable[..., Any]) -> None:
    """Drawn alike at the same step; of a single pair it is refused before the first step."""
    trainer = mm_dpo(beta_rule="released-implicit")
    batch = trainer.data_collator(rows_of(4))
    trainer.model.train()
    found = []
    for _ in range(2):
        trainer.__dict__.pop("_last_place", None)
        with torch.no_grad():
            tokens = trainer._token_log_probs(trainer.model, batch)
            found.append(trainer.figures(tokens, batch).beta)
    assert torch.equal(found[0], found[1])
    assert len(set(found[0].tolist())) == 1
    assert found[0][0] != pytest.approx(0.1, rel=1e-4)
    assert loss_of(trainer, rows_of(1)) == pytest.approx(
        loss_of(mm_dpo(beta_rule="plain"), rows_of(1)), rel=1e-6
    )
    with pytest.raises(ValueError, match="of a single pair are none"):
        mm_dpo(beta_rule="released-implicit", per_device_train_batch_size=1)
    with pytest.raises(ValueError, match="dataloader_drop_last where one pair would remain"):
        mm_dpo(beta_rule="released-implicit", per_device_train_batch_size=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss_type": ["ipo"]}, "enters the sigmoid loss only"),
        ({"loss_type": ["sigmoid", "hinge"]}, "enters the sigmoid loss only"),
        ({"loss_type": ["sft"]}, "enters the sigmoid loss only"),
        ({"ld_alpha": 0.5}, "ld_alpha"),
        ({"use_weighting": True}, "use_weighting"),
        ({"f_divergence_type": "js_divergence"}, "f_divergence_type"),
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"beta_rule": "papers"}, "beta_rule is one of"),
        ({"w": -0.1}, "w must be finite"),
    ],
)
def test_what_would_be_ignored_is_refused(
    mm_dpo: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    """A setting without effect is a wrong result with a right name."""
    with pytest.raises(ValueError, match=message):
        mm_dpo(**change)


def test_a_margin_that_is_not_a_number_stops_before_the_first_step(
    policies: Policies, tmp_path: Path
) -> None:
    """Named by its row, counted from 1; one of several held-out sets is looked at, too."""
    good = Dataset.from_list(rows_of(3, delta=[0.1, 0.2, 0.3]))
    bad = Dataset.from_list(rows_of(3, delta=[0.1, 0.2, float("nan")]))
    for sets in (
        {"train_dataset": bad},
        {"train_dataset": good, "eval_dataset": bad},
        {"train_dataset": good, "eval_dataset": {"near": good, "far": bad}},
    ):
        with pytest.raises(MarginError, match="row 3: delta is no finite number: nan"):
            MMDPOTrainer(model=str(policies()), args=MMDPOConfig(**settings(tmp_path)), **sets)


def test_with_adapters_the_reference_is_the_model_without_them(
    policies: Policies, tmp_path: Path
) -> None:
    """At first every lead is 0; after a move the reference still says what it said."""
    trainer = MMDPOTrainer(
        model=str(policies()),
        args=MMDPOConfig(**settings(tmp_path)),
        train_dataset=Dataset.from_list(rows_of(2, delta=[1.0, 2.0])),
        peft_config=LoraConfig(r=2, target_modules=r".*language_model.*q_proj"),
    )
    batch = trainer.data_collator(rows_of(2, delta=[1.0, 2.0]))
    trainer.model.eval()
    with torch.no_grad():
        before = trainer._token_log_probs(trainer.model, batch)
        moved(trainer)
        after = trainer._token_log_probs(trainer.model, batch)
    assert torch.equal(before.policy, before.reference)
    assert torch.equal(before.reference, after.reference)
    assert not torch.equal(after.policy, after.reference)
