"""`mmreward-train judge`: a generative judge from preference pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def judge(
    output: Annotated[Path, typer.Option(help="Folder of the checkpoint; the run goes into run/.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder to start from.")] = None,
    train: Annotated[list[Path] | None, typer.Option(help="Pairs to train on (several).")] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="Pairs to judge before and after (several).")
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="sft, rl or, given twice, both (default: both).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting: rl.learning_rate=1e-5 (several)."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read settings, model and rows; train nothing.")
    ] = False,
) -> None:
    """Train a judge of two answers: a supervised start, then GRPO on who was preferred.

    On several GPUs: accelerate launch --config_file trainer/accelerate/fsdp2.yaml
    -m mmreward_trainer judge ...
    """
    from mmreward_trainer.judge.command import run_judge

    given = {
        "model": None if model is None else str(model),
        "data.train": [str(file) for file in train or ()] or None,
        "data.validation": [str(file) for file in validation or ()] or None,
        "stages": stage or None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(
        run_judge(output, config, changes, set_ or [], resume=resume, only_check=check)
    )
