"""What the folder that a run starts from was trained on, and what of it becomes stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmreward_service.reward.checkpoint import load_spec, read_config
from numpy.typing import NDArray

from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.training_rows import (
    EARLIER,
    TrainingRowsError,
    holds,
    read_training_rows,
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class EarlierRows:
    """Rows that the start was trained on, as far as its folder lists them.

    Attributes:
        known: sorted 64-bit prefixes of their fingerprints, (rows,).
        missing: why they are not all of them; None if they are.
    """

    known: NDArray[np.uint64]
    missing: str | None

    def fingerprints(self) -> list[str]:
        """As `write_training_rows` takes them; only the prefix of each counts, and is known."""
        return [f"{int(prefix):016x}" + "0" * 48 for prefix in self.known]


def earlier_rows(model: Path) -> EarlierRows:
    """The start's training rows: they are training rows of the judge as well.

    Of a folder without a reward object there are none: what a stock model saw is nobody's list.
    """
    none = np.empty(0, dtype=np.uint64)
    if "reward" not in read_config(model):
        return EarlierRows(none, None)
    spec = load_spec(model)
    try:
        known = read_training_rows(model, spec)
    except TrainingRowsError as error:
        return EarlierRows(none, str(error))
    if EARLIER in spec.training_rows:
        return EarlierRows(known, f"{model} was itself trained from a model without a whole list")
    return EarlierRows(known, None)


def check_held_out(model: Path, validation: Rows | None) -> None:
    """Validation rows must be new to the start as well.

    Raises:
        ConfigError: some are among the rows that the start was trained on.
    """
    if validation is None:
        return
    known = earlier_rows(model).known
    found = [i for i, one in enumerate(validation.fingerprints) if holds(known, one)]
    if found:
        first = validation.table.select_columns(["where"])[found[0]]["where"]
        raise ConfigError(
            f"{len(found)} of {len(validation)} validation rows are among the rows that {model} "
            f"was trained on, the first of them {first}"
        )


def warn_of_start(model: Path, say: Say) -> None:
    """Say once what was measured of the start's weights and does not hold for new ones."""
    if "reward" not in read_config(model):
        return
    old = load_spec(model)
    if old.calibration:
        ways = ", ".join("/".join(map(str, one.key)) for one in old.calibration)
        say(
            f"WARNING: calibrations of the start are dropped ({ways}): they held for its weights; "
            "calibrate anew (mmreward-train calibrate)"
        )
    if old.head is not None:
        say(
            "WARNING: the start is a critique model: its head is kept, but what the head reads "
            "moves; golden scores are recomputed, critique accuracy has to be measured anew"
        )
    missing = earlier_rows(model).missing
    if missing is not None:
        say(
            f"WARNING: the rows that the start was trained on are not all known ({missing}): the "
            "checkpoint will say so, and no calibration of it counts as checked for overlap"
        )
