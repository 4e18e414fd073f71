"""What the folder that a run starts from was trained on, and what of it becomes stale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmreward_service.reward.checkpoint import load_spec, read_config

from mmreward_trainer.earlier_rows import earlier_rows

Say = Callable[[str], None]


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
