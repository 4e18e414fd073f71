"""What `mmreward-train digits-judge` does: train with progress, then write the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from mmreward_trainer.digits.command import COLUMNS, Display
from mmreward_trainer.digits.evaluate import Sizes
from mmreward_trainer.digits.run import load_state
from mmreward_trainer.digits.train import STATE_FILE
from mmreward_trainer.digits_judge.configuration import JudgeConfig
from mmreward_trainer.digits_judge.publish import publish
from mmreward_trainer.digits_judge.train import snapshot_file, start, train


def run_digits_judge(
    output: Path, chosen: dict[str, Any], *, resume: bool, calibrate: bool = True
) -> int:
    """Exit code of the command: 0 done, 1 interrupted or refused."""
    console = Console(stderr=True)
    config = JudgeConfig(**chosen)
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
    except (ValueError, OSError) as error:
        console.print(f"error: {error}", soft_wrap=True)
        return 1
    console.print("Calibrating on validation pairs and writing the checkpoint ...")
    publish(run, output, Sizes() if calibrate else None)
    console.print(f"Written to {output}")
    return 0


def write_snapshot(config: JudgeConfig, run_folder: Path, step: int, folder: Path) -> None:
    """Write the state that a run kept on its way as a checkpoint, without a calibration.

    Raises:
        ValueError: the state is of other settings.
        OSError: it is not there.
    """
    run = start(config)
    load_state(run, snapshot_file(run_folder, step))
    publish(run, folder, None)
