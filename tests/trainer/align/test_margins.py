"""Margins from a column: a failure is no number, and a wrong number names its row."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from mmreward_trainer.align.configuration import MMDPOLoss
from mmreward_trainer.align.margins import ColumnMargins, Margin, MarginError
from mmreward_trainer.align.mm_dpo import MMDPOConfig

SOURCE = ColumnMargins("delta")


def test_null_is_a_margin_that_could_not_be_had() -> None:
    """With the status as the reason; zero is a margin like any other."""
    rows = [{"delta": 0.0}, {"delta": None}, {"delta": None, "status": "truncated"},
            {"delta": -3, "status": "ok"}]  # fmt: skip
    assert SOURCE.margins(rows) == [
        Margin(0.0), Margin(None, "null"), Margin(None, "truncated"), Margin(-3.0)
    ]  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.3", True, [1.0]])
def test_what_is_no_finite_number_names_its_row(value: object) -> None:
    """By file and line where the row knows them, else by id, else by its place."""
    for row, name in (
        ({"delta": value, "where": "pairs.jsonl:7"}, "row pairs.jsonl:7"),
        ({"delta": value, "id": "q3"}, "row q3"),
        ({"delta": value}, "row 2 of a batch"),
    ):
        with pytest.raises(MarginError, match=name) as error:
            SOURCE.margins([{"delta": 1.0}, row])
        assert "delta" in str(error.value)


def test_a_number_beside_a_failure_is_an_error() -> None:
    """One of the two is wrong, and nothing tells which."""
    with pytest.raises(MarginError, match=r"delta is 0.5 although status is 'truncated'"):
        SOURCE.margins([{"delta": 0.5, "status": "truncated"}])


def test_a_row_without_the_column() -> None:
    """An error, or what the source says of such rows."""
    with pytest.raises(MarginError, match="no column 'delta'"):
        SOURCE.margins([{"beta": 0.1}])
    assert ColumnMargins("ls_factor", absent=1.0).margins([{}]) == [Margin(1.0)]


@pytest.mark.parametrize("beta", [0.0, -0.1])
def test_a_beta_is_above_zero(beta: float) -> None:
    """A loss with β = 0 learns nothing, with β < 0 the opposite."""
    with pytest.raises(MarginError, match="above 0"):
        ColumnMargins("beta", positive=True).margins([{"beta": beta}])


def test_a_table_is_read_before_the_first_step() -> None:
    """Missing margins are counted by reason; the bad row is named; a table without any is none."""
    table = Dataset.from_dict(
        {"delta": [1.0, None, None, None], "status": ["ok", "too_long", "deadline", "deadline"]}
    )
    assert SOURCE.check(table) == {"too_long": 1, "deadline": 2}
    with pytest.raises(MarginError, match="row 3: delta is no finite number: nan"):
        SOURCE.check(Dataset.from_dict({"delta": [1.0, 2.0, math.nan]}))
    with pytest.raises(MarginError, match="no row has a delta"):
        SOURCE.check(Dataset.from_dict({"delta": [None, None], "status": ["internal"] * 2}))
    with pytest.raises(MarginError, match="no column 'delta'"):
        SOURCE.check(Dataset.from_dict({"beta": [1.0]}))


@pytest.mark.parametrize("rule", ["given", "released-column", "released-implicit", "plain"])
def test_a_basis_that_no_rule_would_read_is_refused(rule: str, tmp_path: Path) -> None:
    """The paper's rule alone reads δ; each configuration calls its settings by its own names."""
    with pytest.raises(ValueError, match=f"basis calibrated: the rule {rule} reads"):
        MMDPOLoss.model_validate({"rule": rule, "basis": "calibrated"})
    with pytest.raises(ValueError, match=f"basis calibrated: the beta_rule {rule} reads"):
        MMDPOConfig(str(tmp_path), bf16=False, use_cpu=True, beta_rule=rule, basis="calibrated")


def test_a_basis_beside_a_column_is_refused(tmp_path: Path) -> None:
    """Either says which column is read; alone it does."""
    with pytest.raises(ValueError, match="basis calibrated: the column gap is read"):
        MMDPOLoss(basis="calibrated", column="gap")
    cpu: dict[str, Any] = {"output_dir": str(tmp_path), "bf16": False, "use_cpu": True}
    with pytest.raises(ValueError, match="basis calibrated: margin_column gap is read"):
        MMDPOConfig(**cpu, basis="calibrated", margin_column="gap")
    assert MMDPOLoss(basis="calibrated").basis == "calibrated"
    assert MMDPOConfig(**cpu, basis="calibrated").column() == ColumnMargins("delta_calibrated")
    assert MMDPOConfig(**cpu, margin_column="gap").column() == ColumnMargins("gap")


def test_it_travels_into_loader_workers() -> None:
    """Collators are pickled where workers are started afresh."""
    assert pickle.loads(pickle.dumps(SOURCE)) == SOURCE
