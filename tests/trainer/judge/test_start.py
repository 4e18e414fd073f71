"""What a start is known to have been trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmreward_service.reward.checkpoint import write_spec
from mmreward_trainer.earlier_rows import earlier_rows
from mmreward_trainer.judge.start import warn_of_start
from mmreward_trainer.training_rows import write_training_rows
from tiny_models import build_tiny_checkpoint

from .conftest import Stock

SEEN = ["ab" * 32, "0c" * 32]


@pytest.mark.parametrize("case", ["whole", "none", "damaged", "earlier"])
def test_rows_that_are_not_all_known_are_said(tmp_path: Path, case: str) -> None:
    """No list, a damaged one, or one with a gap of its own: none of them looks whole."""
    spec = build_tiny_checkpoint(tmp_path, "qwen2_5_vl")
    listed = write_training_rows(tmp_path, SEEN)
    if case == "none":
        listed = {"rows": 54240}
    elif case == "damaged":
        (tmp_path / "training_rows.u64").write_bytes(b"12345678")
    elif case == "earlier":
        listed["earlier"] = "unknown"
    write_spec(tmp_path, spec.model_copy(update={"training_rows": listed, "calibration": []}))
    rows = earlier_rows(tmp_path)
    said: list[str] = []
    warn_of_start(tmp_path, said.append)
    assert (rows.missing is None) == (case == "whole")
    assert sum("not all known" in line for line in said) == (case != "whole")
    is_listed = case in ("whole", "earlier")
    known = [one[:16] for one in rows.fingerprints()]
    assert known == ([one[:16] for one in sorted(SEEN)] if is_listed else [])


def test_a_stock_model_has_no_earlier_rows(stock: Stock) -> None:
    """Nothing is missing of a list that nobody kept."""
    rows = earlier_rows(stock("qwen2_5_vl"))
    assert rows.missing is None
    assert rows.fingerprints() == []
