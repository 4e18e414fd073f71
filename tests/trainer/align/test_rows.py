"""Tables of rows that a killed run left half made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmreward_trainer.align.configuration import AlignData
from mmreward_trainer.align.rows import REPORT_FILE, build_pairs
from mmreward_trainer.critique.configuration import Data
from mmreward_trainer.critique.rows import build_rows

from .conftest import write_pairs


def _pairs(file: Path, folder: Path) -> Any:
    return build_pairs([file], AlignData(train=[file]), folder, number="delta")


def _rows(file: Path, folder: Path) -> Any:
    return build_rows([file], Data(train=[file]), folder)


@pytest.mark.parametrize("build", [_pairs, _rows])
@pytest.mark.parametrize("killed", ["before the table", "before the report"])
def test_a_kill_before_the_report_costs_nothing_but_time(
    build: Callable[[Path, Path], Any], killed: str, tmp_path: Path
) -> None:
    """Without its report a table is made again, from the rows and not from a complete cache."""
    file = write_pairs(tmp_path, "pairs.jsonl", range(3), delta=1.5)
    folder = tmp_path / "rows"
    first = build(file, folder)
    (folder / REPORT_FILE).unlink()
    if killed == "before the table":
        shutil.rmtree(folder / "table")
    again = build(file, folder)
    assert len(again) == len(again.table) == 3
    assert again.report == first.report
    assert again.fingerprints == first.fingerprints
