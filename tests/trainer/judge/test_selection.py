"""Which rows a stage learns from, told before any stage is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.judge.selection import rows_of_stages

from .conftest import judge_config


def _table(*rows: dict[str, Any]) -> Dataset:
    plain = {"is_tie": False, "chosen_reason": "Right.", "rejected_reason": "Wrong."}
    plain |= {"judgement": None, "judgement_swapped": None, "fps": None, "pictures": []}
    return Dataset.from_list([plain | row for row in rows])


def test_videos_are_refused_only_where_vllm_would_roll_them_out(tmp_path: Path) -> None:
    """A video of a tie is rolled out by nobody, and the warm start takes any."""
    video = {"fps": 2.0}
    table = _table({}, video, video | {"is_tie": True})
    with pytest.raises(ConfigError, match=r"rl.use_vllm: .* \(1 of 2\)"):
        rows_of_stages(judge_config(tmp_path, tmp_path, rl__use_vllm=True), table)
    for changes in ({}, {"rl__use_vllm": True, "stages": ["sft"]}):
        selected = rows_of_stages(judge_config(tmp_path, tmp_path, **changes), table)
        assert [left_out for _, left_out in selected.values()] == [1] * len(selected)
    ties = _table({"fps": 1.0, "is_tie": True}, {})
    assert list(rows_of_stages(judge_config(tmp_path, tmp_path, rl__use_vllm=True), ties)) == [
        "sft",
        "rl",
    ]
