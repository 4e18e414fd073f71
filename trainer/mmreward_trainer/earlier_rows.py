"""The rows that a model was trained on before: a checkpoint trained from it has seen them as well.

Were only the rows of its own run listed, a calibration or a margin on rows of the start would pass
as one on unseen rows. Where the start does not tell all of them, the new list says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    write_training_rows,
)


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
    """The start's training rows: they are training rows of what comes of it as well.

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


def write_all_training_rows(
    output: Path, model: Path, fingerprints: Iterable[str]
) -> dict[str, Any]:
    """Write the rows of a run and those of its start beside each other, as one list.

    Args:
        output: the new checkpoint folder.
        model: the folder that the run started from.
        fingerprints: of the rows of the run.

    Returns:
        What belongs into `training_rows` of the reward object.
    """
    earlier = earlier_rows(model)
    training_rows = write_training_rows(output, [*fingerprints, *earlier.fingerprints()])
    if earlier.missing is not None:
        # Else the list would look whole, and a calibration on unlisted rows would pass as checked.
        training_rows[EARLIER] = "unknown"
    return training_rows
