"""`mmreward-train critique`: a critique reward model from preference pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def critique(
    output: Annotated[Path, typer.Option(help="Folder of the checkpoint; the run goes into run/.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of the base model.")] = None,
    train: Annotated[list[Path] | None, typer.Option(help="Pairs to train on (several).")] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="Pairs to measure accuracy on (several).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting: optimisation.learning_rate=1e-5 (several)."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read settings, model and rows; train nothing.")
    ] = False,
) -> None:
    """Train a critique reward model: critiques on both answers, Bradley-Terry on the head.

    On several GPUs: accelerate launch --config_file trainer/accelerate/fsdp2.yaml
    -m mmreward_trainer critique ...
    """
    from mmreward_trainer.critique.command import run_critique

    given = {
        "model": None if model is None else str(model),
        "data.train": [str(file) for file in train or ()] or None,
        "data.validation": [str(file) for file in validation or ()] or None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(
        run_critique(output, config, changes, set_ or [], resume=resume, only_check=check)
    )
