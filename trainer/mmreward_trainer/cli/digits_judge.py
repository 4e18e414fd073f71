"""`mmreward-train digits-judge`: the bundled model learns to judge, too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Steps = Annotated[int | None, typer.Option(min=0, help="Steps of this phase; none: as bundled.")]


def digits_judge(
    output: Annotated[Path, typer.Option(help="Folder of the checkpoint; run files go into run/.")],
    start: Annotated[Path, typer.Option(help="What `mmreward-train digits` wrote.")],
    seed: Annotated[int, typer.Option(min=1, help="Seed of batches and sampling.")] = 100,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    judge_steps: _Steps = None,
    refine_steps: _Steps = None,
    picture_first: Annotated[
        bool, typer.Option("--picture-first", help="Judge prompts that begin with the picture.")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option(help="Fit temperatures on validation pairs at the end.")
    ] = True,
) -> None:
    """Teach the bundled model to judge two answers (about 15 minutes on one core)."""
    from mmreward_trainer.digits_judge.command import run_digits_judge

    given = {
        "start": str(start),
        "seed": seed,
        "threads": threads,
        "critique_steps": judge_steps,
        "refine_steps": refine_steps,
        "picture_first": picture_first,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(run_digits_judge(output, chosen, resume=resume, calibrate=calibrate))
