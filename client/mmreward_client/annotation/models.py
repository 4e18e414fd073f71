"""The models that score a data set: usually one, or one for each fold of a cross-fitting.

A margin on a pair that the model was trained on is overfit: it says how well the pair was learned,
not how clear it is. With several checkpoints, each trained without one part of the data, every pair
is scored by one that did not see it (cross-fitting). Which one that is comes from a column of the
data, or from the training rows that the checkpoints list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_client.annotation.cases import Case, DataSet
from mmreward_client.annotation.margins import CardCalibration
from mmreward_client.data.trained_rows import TrainedRows
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.sync import RewardClient

MAX_FOLDS = 64


@dataclass(frozen=True)
class Model:
    """One service.

    Attributes:
        scores: the file that its scores are collected in.
        rows: what it was trained on, where that is known.
    """

    client: RewardClient
    origin: Origin
    calibration: CardCalibration | None
    scores: Path
    rows: TrainedRows | None = None


@dataclass(frozen=True)
class Choice:
    """Which model scores a pair, and whether it was trained on it.

    Attributes:
        model: None: no model may score it, and `error` says why.
        trained_on: None where it is not known: there is no list, or it is not whole.
    """

    model: int | None
    trained_on: bool | None = None
    error: str | None = None


@dataclass(frozen=True)
class Assignment:
    """From a pair to its model.

    Attributes:
        rows: of each model, what it was trained on.
        fold_column: holds the number, from 0, of the model that did not see the row; None: any
            model that did not see it, chosen by the pair's fingerprint, so that the work is even.
    """

    data: DataSet
    rows: Sequence[TrainedRows | None]
    fold_column: str | None = None

    def of(self, case: Case) -> Choice:
        """The choice for one case.

        Raises:
            InvalidInput: a picture of it cannot be read.
        """
        if case.pair is None:
            return Choice(None, error=case.error)
        if self.fold_column is not None:
            return self._by_column(case, self.fold_column)
        fingerprint = self.data.fingerprint(case) if self._has_rows else None
        if fingerprint is None:
            return Choice(0)
        if len(self.rows) == 1:
            return Choice(0, is_trained_on(self.rows[0], fingerprint))
        free = [i for i, rows in enumerate(self.rows) if rows is None or fingerprint not in rows]
        if not free:
            return Choice(None, True, "every one of the checkpoints was trained on this pair")
        chosen = free[int(fingerprint[-8:], 16) % len(free)]
        return Choice(chosen, is_trained_on(self.rows[chosen], fingerprint))

    @property
    def _has_rows(self) -> bool:
        return any(rows is not None for rows in self.rows)

    def _by_column(self, case: Case, column: str) -> Choice:
        found = case.row.get(column)
        if isinstance(found, bool) or not isinstance(found, int):
            return Choice(None, error=f"{column}: {found!r:.40} is no number of a fold")
        if not 0 <= found < len(self.rows):
            return Choice(None, error=f"{column}: fold {found} of {len(self.rows)}")
        rows = self.rows[found]
        fingerprint = self.data.fingerprint(case) if rows is not None else None
        return Choice(found, is_trained_on(rows, fingerprint))


def is_trained_on(rows: TrainedRows | None, fingerprint: str | None) -> bool | None:
    """Whether a pair is among the rows; None where nothing says so either way."""
    if rows is None or fingerprint is None:
        return None
    return True if fingerprint in rows else (False if rows.is_whole else None)


def check_folds(models: int, rows: int, fold_column: str | None) -> None:
    """How several models can share the pairs.

    Raises:
        InvalidInput: several models and no word on which of them saw what.
    """
    if models > MAX_FOLDS:
        raise InvalidInput(f"{models} models, at most {MAX_FOLDS}")
    if rows not in (0, models):
        raise InvalidInput(f"{rows} files of training rows for {models} models")
    if models > 1 and rows == 0 and fold_column is None:
        raise InvalidInput("several models need their training rows, or a column of folds")
    if models == 1 and fold_column is not None:
        raise InvalidInput("a column of folds needs several models")


def row_fields(choice: Choice, *, has_rows: bool, has_folds: bool) -> dict[str, Any]:
    """What is written of a choice."""
    fields: dict[str, Any] = {}
    if has_rows:
        fields["trained_on"] = choice.trained_on
    if has_folds:
        fields["fold"] = choice.model
    return fields
