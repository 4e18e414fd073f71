"""`mmreward-train digits`: the bundled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Steps = Annotated[int | None, typer.Option(min=0, help="Steps of this phase; none: as bundled.")]


def digits(
    output: Annotated[Path, typer.Option(help="Folder of the checkpoint; run files go into run/.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, batches and sampling.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    warm_up_steps: _Steps = None,
    critique_steps: _Steps = None,
    refine_steps: _Steps = None,
    critique_weight: Annotated[
        float | None, typer.Option(min=0.0, help="0 trains the baseline without critiques.")
    ] = None,
) -> None:
    """Train the bundled model on handwritten digits (about 40 minutes on one core)."""
    from mmreward_trainer.digits.command import run_digits

    given = {
        "seed": seed,
        "threads": threads,
        "warm_up_steps": warm_up_steps,
        "critique_steps": critique_steps,
        "refine_steps": refine_steps,
        "critique_weight": critique_weight,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(run_digits(output, chosen, resume=resume))
