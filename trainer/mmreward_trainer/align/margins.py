"""Where the margin δ of a pair comes from: a column, a service, anything else by protocol.

`ColumnMargins` here reads a column; `live_margins.ServiceMargins` asks a running service ahead of
the step, see `live_ahead`. Any other `MarginSource` is asked by the collator, once per batch, with
the batch's rows. With `dataloader_num_workers` above 0 the data loader collates ahead of the
training step, in its workers: a source that has to wait waits there, and the step does not, as long
as workers times prefetched batches cover the wait. Such a source is copied into the workers and
must be picklable. With 0, TRL's default, it is asked in the training process, and the step waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Margin:
    """What is known of one pair. A failure is no number: `value` is None and `reason` says why."""

    value: float | None
    reason: str | None = None


class MarginError(ValueError):
    """A value that is no margin; the message names the row."""


class MarginSource(Protocol):
    """Gives the margin of every pair of a batch."""

    def margins(self, rows: Sequence[Row]) -> list[Margin]:
        """One entry per row, in order.

        Raises:
            MarginError: a margin that is there but no finite number.
        """
        ...


@dataclass(frozen=True)
class ColumnMargins:
    """Reads a column: δ, a β that was computed before, or the released code's `ls_factor`.

    Null means that there is no margin; the row's `status` says why, as `mmreward annotate` writes
    it. A number beside a status other than `ok` is an error: one of the two is wrong.

    Attributes:
        column: its name.
        positive: whether 0 and less are errors, too (a β).
        absent: the value where rows have no such column at all; None makes that an error.
    """

    column: str
    positive: bool = False
    absent: float | None = None

    def margins(self, rows: Sequence[Row]) -> list[Margin]:
        return [self.margin(row, f"row {name_of(row, i)}") for i, row in enumerate(rows)]

    def margin(self, row: Row, name: str) -> Margin:
        """The margin of one row.

        Raises:
            MarginError: no such column; not a finite number; a number beside a failed status.
        """
        if self.column not in row:
            if self.absent is not None:
                return Margin(self.absent)
            raise MarginError(f"{name}: no column {self.column!r}")
        value, status = row[self.column], row.get("status")
        if value is None:
            return Margin(None, str(status) if status not in (None, "ok") else "null")
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise MarginError(f"{name}: {self.column} is no finite number: {value!r}")
        if self.positive and value <= 0:
            raise MarginError(f"{name}: {self.column} must be above 0, got {value!r}")
        if status not in (None, "ok"):
            raise MarginError(f"{name}: {self.column} is {value!r} although status is {status!r}")
        return Margin(float(value))

    def check(self, table: Any) -> dict[str, int]:
        """Read the column of a whole `datasets.Dataset` before the first step.

        Returns:
            Reason -> number of rows without a margin.

        Raises:
            MarginError: as `margin`, the row counted from 1; or no row has a margin.
        """
        there = [one for one in (self.column, "status", "where") if one in table.column_names]
        if self.column not in there:
            if self.absent is None:
                raise MarginError(f"the data set has no column {self.column!r}")
            return {}
        missing: dict[str, int] = {}
        for i, row in enumerate(table.select_columns(there), 1):
            found = self.margin(row, f"row {row.get('where') or i}")
            if found.value is None:
                reason = found.reason or "null"
                missing[reason] = missing.get(reason, 0) + 1
        if sum(missing.values()) == len(table):
            raise MarginError(f"no row has a {self.column}: {missing}")
        return missing


def name_of(row: Row, place: int) -> str:
    """What a message calls a row: its file and line, its id, or its place in the batch."""
    return str(row.get("where") or row.get("id") or f"{place + 1} of a batch")
