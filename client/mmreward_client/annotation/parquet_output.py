"""The output as parquet: with the types of the data where that is parquet, inferred otherwise."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from mmreward_client.errors import InvalidInput

_ROWS_PER_BATCH = 256
"""Rows with pictures inside are megabytes each."""

_TEXTS = ("prompt", "chosen", "rejected", "status", "error", "fingerprint")
_WHOLE = ("line", "chosen_place", "rejected_place", "fold")
_NUMBERS = (
    *("chosen_score", "rejected_score", "delta", "delta_stderr", "delta_calibrated", "prob"),
    *("beta", "ls_factor"),
)


def write_parquet(file: BinaryIO, rows: Iterable[Mapping[str, Any]], source: Path | None) -> None:
    """Write the rows.

    Args:
        source: a parquet file whose columns keep their types; None: types are inferred.

    Raises:
        InvalidInput: a column of mixed types, or pyarrow is missing.
    """
    try:
        # By name, so that the types are the same where it is not installed.
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InvalidInput("writing parquet needs pyarrow: install mmreward[cli]") from error
    if source is None:
        listed = list(rows)
        schema = pyarrow.schema(_inferred(pyarrow, listed))
        rows = listed
    else:
        remaining = iter(rows)
        first = list(islice(remaining, _ROWS_PER_BATCH))
        known = parquet.read_schema(source)
        schema = _extended(pyarrow, known, first)
        rows = _chained(first, remaining)
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in _batches(rows):
            columns = [_column(pyarrow, field, batch) for field in schema]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def _column(pyarrow: Any, field: Any, batch: list[Mapping[str, Any]]) -> Any:
    try:
        return pyarrow.array([row.get(field.name) for row in batch], type=field.type)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise InvalidInput(_no_one_type(f"{field.name}: {error}")) from error


def _extended(pyarrow: Any, known: Any, first: list[Mapping[str, Any]]) -> Any:
    """The columns of the data that are handed on, and behind them what was added."""
    own = _own_types(pyarrow)
    names = dict.fromkeys(name for row in first for name in row)
    if "orders" in known.names and not any(isinstance(row.get("orders"), list) for row in first):
        del own["orders"]  # the data's own column: no judge was asked
    fields = [
        field if field.name not in own else pyarrow.field(field.name, own[field.name])
        for field in known
        if field.name in names
    ]
    added = [name for name in names if name not in known.names]
    return pyarrow.schema([*fields, *((name, own.get(name, pyarrow.string())) for name in added)])


def _inferred(pyarrow: Any, rows: list[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    own = _own_types(pyarrow)
    fields = []
    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            found = own.get(name) or pyarrow.infer_type([row.get(name) for row in rows])
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise InvalidInput(_no_one_type(f"{name}: {error}")) from error
        fields.append((name, found))
    return fields


def _own_types(pyarrow: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(_TEXTS, pyarrow.string()),
        **dict.fromkeys(_WHOLE, pyarrow.int64()),
        **dict.fromkeys(_NUMBERS, pyarrow.float64()),
        "trained_on": pyarrow.bool_(),
        "orders": pyarrow.list_(pyarrow.float64()),
    }


def _no_one_type(said: object) -> str:
    return (
        "a column has no one type, which parquet needs; write JSON lines instead, the scores are "
        f"kept: {said}"
    )


def _chained(
    first: list[Mapping[str, Any]], rest: Iterator[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    yield from first
    yield from rest


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _ROWS_PER_BATCH)):
        yield batch
