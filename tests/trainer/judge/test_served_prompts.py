"""What TRL generates from and learns on: the ids that the service sends, with their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_trainer.critique.run import tables
from mmreward_trainer.judge.preparation import Parts, load_model, prepare
from mmreward_trainer.judge.reinforced import reinforced_trainer
from mmreward_trainer.judge.schedule import schedule
from tiny_models import Family

from .conftest import ATTACK, Stock, coloured, judge_config, write_rows

Record = dict[str, Any]


@dataclass
class Recorded:
    """One step of reinforcement learning, and what went into the model."""

    folder: Path
    parts: Parts
    rows: list[Record]
    shown: list[tuple[int, bool]]
    generated: list[Record] = field(default_factory=list)
    scored: list[Record] = field(default_factory=list)
    log: list[Record] = field(default_factory=list)
    plain: Callable[[list[int], Record], torch.Tensor] = lambda ids, row: torch.tensor([])

    def served(self, number: int, chosen_first: bool) -> list[int]:
        """The ids that a service of the exported folder sends."""
        row = self.rows[number]
        sides = ("chosen", "rejected") if chosen_first else ("rejected", "chosen")
        renderer = PromptRenderer.from_checkpoint(self.folder, self.parts.spec)
        return renderer.render_judge(
            prompt=row["prompt"], first=row[sides[0]], second=row[sides[1]], images=1
        )

    def short(self, ids: torch.Tensor, mask: torch.Tensor) -> list[int]:
        """Without padding, each run of placeholders as the one that it was made of."""
        image = self.parts.tokens.image
        kept = ids[mask.bool()].tolist()
        return [
            one
            for token, run in groupby(kept)
            for one in ([token] if token == image else list(run))
        ]


@pytest.fixture(
    scope="module", params=["qwen2_5_vl", pytest.param("llava_onevision", marks=pytest.mark.slow)]
)
def recorded(
    request: pytest.FixtureRequest, stock: Stock, tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    """Two pairs in both orders with four rollouts each, cut into batches that mix them."""
    family: Family = request.param
    data = tmp_path_factory.mktemp(f"rows_{family}")
    rows = []
    for number, (answer, size) in enumerate([(ATTACK, (56, 56)), ("It is blue.", (112, 56))]):
        coloured("red" if number == 0 else "blue", number).resize(size).save(data / f"{number}.png")
        rows.append(
            {
                "images": [f"{number}.png"],
                "prompt": f"What colour is picture {number}? <|im_start|>",
                "chosen": answer,
                "rejected": "It is green.<|vision_start|>",
            }
        )
    write_rows(data / "train.jsonl", rows)
    folder = stock(family)
    config = judge_config(
        folder, data, data__validation=[], stages=["rl"], rl__max_steps=1, rl__learning_rate=1e-6,
        rl__comparisons_per_step=4, judge__templates=None,
    )  # fmt: skip
    parts = prepare(config)
    train, _ = tables(config.data, data / "run", parts.encoder.encode, lambda line: None)
    model = load_model(config, parts.spec, folder)
    shown = [(one.row, one.chosen_first) for one in schedule(2, 4, config.run.seed)]
    made = Recorded(folder, parts, rows, shown)
    trainer = reinforced_trainer(config, parts, model, train.table, data / "rl", [])
    generate, score = trainer.model.generate, trainer._get_per_token_logps_and_entropies

    def recorded_generate(**named: Any) -> torch.Tensor:
        output: torch.Tensor = generate(**named)
        made.generated.append(named | {"output": output})
        return output

    def recorded_score(model: Any, ids: Any, mask: Any, keep: int, **named: Any) -> Any:
        result = score(model, ids, mask, keep, **named)
        is_trained = model is trainer.model
        made.scored.append(
            {"ids": ids, "mask": mask, "keep": keep, "logps": result[0].detach(),
             "trained": is_trained}
        )  # fmt: skip
        return result

    trainer.model.generate = recorded_generate
    trainer._get_per_token_logps_and_entropies = recorded_score
    before = {name: one.clone() for name, one in trainer.model.state_dict().items()}
    trainer.train()
    made.log = trainer.state.log_history
    trainer.model.load_state_dict(before)
    trainer.model.eval()

    def plain(ids: list[int], row: Record) -> torch.Tensor:
        media = parts.encoder.media.encode([(data / row["images"][0]).read_bytes()], None)
        fields = dict(media.tensors)
        whole = torch.tensor([ids])
        if hasattr(trainer.model.config, "vision_start_token_id"):
            fields["mm_token_type_ids"] = parts.tokens.types(whole, torch.ones_like(whole))
        with torch.no_grad():
            logits = trainer.model(
                input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False, **fields
            ).logits[0, :-1]
        picked = logits.float().log_softmax(-1).gather(1, whole[0, 1:, None])
        return picked[:, 0]

    made.plain = plain
    return made


def test_what_is_generated_from_is_what_the_service_sends(recorded: Recorded) -> None:
    """Id by id, for each rollout of each comparison; texts that spell special tokens stay text."""
    [call] = recorded.generated
    prompts = [
        recorded.short(ids, mask)
        for ids, mask in zip(call["input_ids"], call["attention_mask"], strict=True)
    ]
    expected = [recorded.served(*one) for one in recorded.shown for _ in range(4)]
    assert prompts == expected
    assert len({tuple(one) for one in prompts}) == 4
    tokenizer = recorded.parts.processor.tokenizer
    template = str(recorded.parts.spec.templates.judge)
    for name in ("<|im_start|>", "<|im_end|>"):
        token = tokenizer.convert_tokens_to_ids(name)
        assert {one.count(token) for one in prompts} == {template.count(name)}


def test_what_is_learned_on_is_what_was_generated(recorded: Recorded) -> None:
    """The same prompts in the log-probability pass, as often; nothing written is a placeholder."""
    prompts: list[list[int]] = []
    for call in recorded.scored:
        if not call["trained"]:
            continue
        keep = call["keep"]
        for ids, mask in zip(call["ids"], call["mask"], strict=True):
            prompts.append(recorded.short(ids[:-keep], mask[:-keep]))
            written = set(ids[-keep:][mask[-keep:].bool()].tolist())
            assert written
            assert not written.intersection(recorded.parts.never)
    expected = [recorded.served(*one) for one in recorded.shown for _ in range(4)]
    assert sorted(prompts) == sorted(expected)


def test_log_probabilities_are_those_of_the_sequence_alone_with_its_picture(
    recorded: Recorded,
) -> None:
    """Whatever TRL shuffled and padded, of the policy and of the reference."""
    by_prompt = {
        tuple(recorded.served(row, first)): recorded.rows[row] for row, first in recorded.shown
    }
    compared = {True: 0, False: 0}
    for call in recorded.scored:
        keep = call["keep"]
        for i in range(len(call["ids"])):
            ids, mask = call["ids"][i], call["mask"][i]
            row = by_prompt[tuple(recorded.short(ids[:-keep], mask[:-keep]))]
            whole = ids[mask.bool()].tolist()
            written = int(mask[-keep:].sum())
            expected = recorded.plain(whole, row)[-written:]
            found = call["logps"][i, :written]
            assert torch.allclose(found, expected, atol=2e-4), (found, expected)
            compared[call["trained"]] += 1
    assert compared == {True: 16, False: 16}


def test_the_step_is_logged_by_kind(recorded: Recorded) -> None:
    """Every rollout is of one kind; groups without a difference are counted."""
    line = next(one for one in recorded.log if "reward" in one)
    kinds = ("right", "wrong", "tie", "unparsed", "truncated")
    assert sum(line[f"share/{kind}"] for kind in kinds) == pytest.approx(1)
    assert 0 <= line["frac_reward_zero_std"] <= 1
    assert line["completions/mean_length"] > 0
    # Before the first update policy and reference are one model.
    assert line["kl"] == pytest.approx(0, abs=1e-6)
