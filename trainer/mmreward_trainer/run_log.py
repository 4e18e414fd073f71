"""What every training run leaves of its log: history.json, curves.png, and what it says aloud."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replace_file
from transformers import TrainerCallback

from mmreward_trainer.critique.curves import Panels, draw_curves
from mmreward_trainer.critique.sharding import check_sharded

HISTORY_FILE = "history.json"
CURVES_FILE = "curves.png"

Say = Callable[[str], None]


def mute(line: str) -> None:
    """What all processes but the first say."""


def write_history(history: list[dict[str, Any]], folder: Path, panels: Panels) -> None:
    """The log as JSON and as curves; null where there was no value."""
    told = [without_nan(line) for line in history]
    replace_file(folder / HISTORY_FILE, json.dumps(told, indent=1, allow_nan=False) + "\n")
    draw_curves(told, folder / CURVES_FILE, panels)


def without_nan(line: dict[str, Any]) -> dict[str, Any]:
    """A line as JSON can hold it: a NaN, as TRL logs of a step without any reward, is None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in line.items()
    }


class RunLog(TrainerCallback):  # type: ignore[misc]
    """Writes log and curves whenever the trainer saves, and checks once that shards are real."""

    def __init__(self, folder: Path, panels: Panels, say: Say) -> None:
        self._folder = folder
        self._panels = panels
        self._say = say

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        share = check_sharded(named["model"])
        if share is not None:
            self._say(
                f"{share:.0%} of the trained weights are in parts on {args.world_size} processes"
            )

    def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        if state.is_world_process_zero:
            write_history(state.log_history, self._folder, self._panels)
