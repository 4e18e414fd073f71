"""`mmreward-train align`: a policy from preference pairs, or from rewards of the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mmreward_trainer.align.configuration import AlignSettings

align = typer.Typer(
    name="align",
    help="Train a policy with a reward model: MM-DPO, dense DPO, grouped RL.",
    no_args_is_help=True,
    add_completion=False,
)

Output = Annotated[Path, typer.Option(help="Folder of the policy; the run goes into run/.")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings.")]
Model = Annotated[Path | None, typer.Option(help="Folder of the policy to start from.")]
Train = Annotated[list[Path] | None, typer.Option(help="Pairs to train on (several).")]
Validation = Annotated[list[Path] | None, typer.Option(help="Pairs to validate on (several).")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting: optimisation.learning_rate=1e-5 (several)."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")]
Check = Annotated[bool, typer.Option("--check", help="Read settings and rows; train nothing.")]


@align.command("mm-dpo")
def mm_dpo(
    output: Output,
    config: Config = None,
    model: Model = None,
    train: Train = None,
    validation: Validation = None,
    set_: Set = None,
    resume: Resume = False,
    check: Check = False,
) -> None:
    """DPO with a beta of each pair, from the margin that a reward model gave it.

    Rows carry `delta` as `mmreward annotate` writes it. On several GPUs: accelerate launch
    --config_file trainer/accelerate/ddp.yaml -m mmreward_trainer align mm-dpo ...
    """
    from mmreward_trainer.align.configuration import MMDPOSettings

    _run(MMDPOSettings, output, config, model, train, validation, set_, resume, check)


@align.command("dense-dpo")
def dense_dpo(
    output: Output,
    config: Config = None,
    model: Model = None,
    train: Train = None,
    validation: Validation = None,
    set_: Set = None,
    resume: Resume = False,
    check: Check = False,
) -> None:
    """DPO on corrections: corrected tokens weigh more than the rest of an answer (RLHF-V)."""
    from mmreward_trainer.align.configuration import DenseDPOSettings

    _run(DenseDPOSettings, output, config, model, train, validation, set_, resume, check)


@align.command("grouped")
def grouped(
    output: Output,
    config: Config = None,
    model: Model = None,
    train: Annotated[list[Path] | None, typer.Option(help="Prompts to train on (several).")] = None,
    validation: Annotated[
        list[Path] | None, typer.Option(help="Prompts to validate on (several).")
    ] = None,
    url: Annotated[list[str] | None, typer.Option(help="The service (several replicas).")] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="MMREWARD_API_KEY", help="Bearer key.", show_default=False)
    ] = None,
    set_: Set = None,
    resume: Resume = False,
    check: Check = False,
) -> None:
    """GRPO with rewards from the service: a judge compares the completions of each prompt."""
    from mmreward_trainer.align.grouped.command import run_grouped

    changes = _changes(model, train, validation) | ({"service.urls": url} if url else {})
    raise typer.Exit(
        run_grouped(
            output, config, changes, set_ or [], api_key=api_key, resume=resume, only_check=check
        )
    )


def _run(
    kind: type[AlignSettings],
    output: Path,
    config: Path | None,
    model: Path | None,
    train: list[Path] | None,
    validation: list[Path] | None,
    set_: list[str] | None,
    resume: bool,
    check: bool,
) -> None:
    from mmreward_trainer.align.command import run_align

    changes = _changes(model, train, validation)
    raise typer.Exit(
        run_align(kind, output, config, changes, set_ or [], resume=resume, only_check=check)
    )


def _changes(
    model: Path | None, train: list[Path] | None, validation: list[Path] | None
) -> dict[str, Any]:
    given = {
        "model": None if model is None else str(model),
        "data.train": [str(file) for file in train or ()] or None,
        "data.validation": [str(file) for file in validation or ()] or None,
    }
    return {name: value for name, value in given.items() if value is not None}
