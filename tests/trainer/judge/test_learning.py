"""Reinforcement alone teaches a tiny judge who is better: no judgement says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmreward_trainer.judge.run import train_judge

from .conftest import Stock, colour_row, judge_config, write_rows

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_the_reward_rises_from_chance_to_certainty(stock: Stock, tmp_path: Path) -> None:
    """The warm start knows the form alone, and judges by a coin; 40 steps later it judges right.

    In the rows of the warm start either answer is as often the better one, in those of the second
    stage one word always is.
    """
    form, rule = tmp_path / "form", tmp_path / "rule"
    form.mkdir()
    rule.mkdir()
    words = [("yes", "no"), ("no", "yes")]
    rows = [
        colour_row(i, form, prompt="Which?", chosen=words[i % 2][0], rejected=words[i % 2][1])
        for i in range(24)
    ]
    write_rows(form / "train.jsonl", rows)
    nothing = {"judgement": None, "judgement_swapped": None}
    better = {"prompt": "Which?", "chosen": "good", "rejected": "bad"}
    write_rows(rule / "train.jsonl", [colour_row(i, rule, **better, **nothing) for i in range(24)])
    held = [colour_row(i, rule, **better, **nothing) for i in range(100, 108)]
    write_rows(rule / "validation.jsonl", held)
    start, output = tmp_path / "start", tmp_path / "judge"
    train_judge(
        judge_config(
            stock("qwen2_5_vl"), form, stages=["sft"], data__validation=[],
            sft__pairs_per_step=6, sft__pairs_per_batch=6, sft__max_steps=48,
        ),
        start, resume=False, say=print,
    )  # fmt: skip
    train_judge(
        judge_config(
            start, rule, stages=["rl"], judge__templates=None, rl__max_steps=40,
            rl__comparisons_per_step=8, rl__rollouts=8, rl__rollouts_per_batch=64,
            # At 1e-3 it is decided by chance whether the judge learns or falls to one position,
            # from which no reward leads back.
            rl__learning_rate=3e-4,
        ),
        output, resume=False, say=print,
    )  # fmt: skip
    log = json.loads((output / "run" / "rl" / "history.json").read_text())
    rewards = [one["reward"] for one in log if "reward" in one]
    assert sum(rewards[:5]) / 5 < 0.6
    assert sum(rewards[-5:]) / 5 > 0.85
    held_out = [one for one in log if "eval_pairs" in one]
    assert held_out[0]["eval_accuracy_both"] < 0.5
    assert held_out[-1]["eval_accuracy_both"] > 0.9
    assert held_out[-1]["eval_order_consistency"] > 0.9
    # A coin that is not fair: the start's own position bias is gone as well.
    assert abs(held_out[-1]["eval_share/first_wins"] - 0.5) < 0.1
