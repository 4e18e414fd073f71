"""The study of the bundled judge: which start is sound, what a gain is, what the tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from judge_study.group_quality import average, make_table, ways
from judge_study.study import gains, sound_step
from judge_study.study import make_table as study_table


def figures(right: list[str], both: float = 0.5) -> dict[str, Any]:
    judged = {
        "both_orders": both, "both_orders_clean": both, "both_orders_hard": None, "one_order": both,
        "order_consistency": 1.0, "ties": 0.0, "parsed": 1.0, "right": right,
    }  # fmt: skip
    return {"judge": {"trained": judged, "held": judged}, "critique": {"all": 0.97}}


def test_the_half_trained_start_is_the_first_sound_state(tmp_path: Path) -> None:
    """States that judge badly, do not parse or were not kept are passed over."""
    records = [
        (40, 0.9, 0.5),  # does not parse
        (70, 0.6, 1.0),  # judges badly
        (90, 0.9, 1.0),  # was not kept
        (100, 0.85, 0.97),
        (130, 0.9, 1.0),
    ]
    validations = [
        {"step": step, "judge": {"both_orders": right, "parsed": parsed}}
        for step, right, parsed in records
    ]
    torch.save({"validations": validations}, tmp_path / "resume.pt")
    for step in (40, 70, 100, 130):
        (tmp_path / f"step_{step}.pt").touch()
    assert sound_step(tmp_path, 0.8) == 100
    assert sound_step(tmp_path, 0.95) is None


def test_gains_compare_each_model_with_its_start() -> None:
    """Reinforcement against the state it started from, and further supervision against the same."""
    half, better = figures(["000"] * 10), figures(["100"] * 5 + ["000"] * 5)
    found = gains({"half": half, "half_rl": better, "full": better})
    assert set(found) == {"half -> half_rl", "half -> full"}
    assert found["half -> half_rl"]["held"]["gain"] == 0.5
    table = study_table([{"seed": 3, "models": {"half": half}, "gains": found}])
    assert "| 3 | half | 50.0 | 50.0 | 0.0 |" in table
    assert "+50.0 [" in table


def test_groups_without_an_order_are_counted_apart() -> None:
    """The mean is over groups; draws of one group are averaged first."""
    found = average([[1.0, 0.0], [1.0], [None], [None, 0.5]])
    assert found["spearman"] == pytest.approx((0.5 + 1.0 + 0.5) / 3, abs=1e-4)
    assert (found["groups"], found["without_a_correlation"]) == (3, 1)
    assert found["ci95"][0] <= found["spearman"] <= found["ci95"][1]


def test_table_has_every_way_and_size() -> None:
    """One row for each way, one column for each size."""
    one = {"spearman": 0.5, "ci95": [0.4, 0.6]}
    sizes = {s: {"groups": 9, "ways": dict.fromkeys(ways(0.3), one)} for s in ("2", "5")}
    table = make_table({"split": "test", "wording": "held", "sizes": sizes})
    assert table.count("0.500 (0.400 - 0.600)") == 2 * len(ways(0.3))
    assert "n = 5" in table
