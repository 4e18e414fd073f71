"""What the folder that a run starts from was trained on, and what of it becomes stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmreward_service.reward.checkpoint import load_spec, read_config

from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.earlier_rows import earlier_rows
from mmreward_trainer.training_rows import holds

Say = Callable[[str], None]


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
