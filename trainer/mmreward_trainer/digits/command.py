"""What `mmreward-train digits` does: train with progress on the terminal, then write the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmreward_trainer.digits.configuration import DigitsConfig
from mmreward_trainer.digits.evaluate import Sizes
from mmreward_trainer.digits.publish import publish
from mmreward_trainer.digits.train import STATE_FILE, train

_SHOWN = ("loss", "critique", "score", "none", "judge")
COLUMNS = (
    TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
    TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"),
)  # fmt: skip


class Display:
    """One progress bar per phase; validation results are printed above it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, Any] = {}

    def __call__(self, phase: str, step: int, steps: int, numbers: dict[str, Any]) -> None:
        if phase == "validation":
            self.progress.console.print(
                f"step {step}: validation pairs, critiques self-written: {json.dumps(numbers)}",
                soft_wrap=True,
                highlight=False,
            )
            return
        # Critique and refine phases are one bar: their steps are counted through.
        bar = "vision" if phase == "vision" else "critiques"
        if bar not in self.tasks:
            self.tasks[bar] = self.progress.add_task(bar, total=steps, numbers="")
        text = " ".join(f"{name} {numbers[name]:.3f}" for name in _SHOWN if name in numbers)
        if not text:
            text = " ".join(f"{name} {value:.3f}" for name, value in numbers.items())
        self.progress.update(self.tasks[bar], completed=step, numbers=f"{phase}: {text}")


def run_digits(output: Path, chosen: dict[str, Any], *, resume: bool) -> int:
    """Exit code of the command: 0 done, 1 interrupted or refused."""
    console = Console(stderr=True)
    config = DigitsConfig(**chosen)
    run_folder = output / "run"
    if (run_folder / STATE_FILE).exists() and not resume:
        console.print(f"{run_folder} holds a run: add --resume to go on, or choose another folder.")
        return 1
    try:
        with Progress(*COLUMNS, console=console) as progress:
            run = train(config, run_folder, resume=resume, report=Display(progress))
    except KeyboardInterrupt:
        console.print(f"Interrupted. Go on with: --output {output} --resume (same settings)")
        return 1
    except ValueError as error:
        console.print(f"error: {error}", soft_wrap=True)
        return 1
    console.print("Calibrating on validation pairs and writing the checkpoint ...")
    spec = publish(run, output, Sizes())
    for one in spec.calibration:
        console.print(
            f"  mode {one.mode}, K={one.critiques}: temperature {one.temperature} "
            f"{list(one.interval_95)}, {one.errors} errors in {one.pairs} pairs",
            highlight=False,
        )
    console.print(f"Written to {output}")
    return 0
