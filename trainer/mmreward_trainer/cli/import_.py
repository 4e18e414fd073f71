"""`mmreward-train import`: other people's reward models, as checkpoints that can be served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_FORMS = ("llava-qwen", "sequence-classification", "value-head")
_DTYPES = ("float32", "bfloat16", "none")


def import_(
    source: Annotated[Path, typer.Argument(help="Folder of the checkpoint to import.")],
    output: Annotated[Path, typer.Argument(help="Folder to write; must be empty or absent.")],
    form: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(_FORMS)}. Default: what head is found.", show_default=False),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(
            help="JSON or TOML of prompt templates. Default: from the folder's chat template.",
            show_default=False,
        ),
    ] = None,
    vision_config: Annotated[
        Path | None,
        typer.Option(
            help="JSON of a SigLIP tower that LLaVA-NeXT's config names but does not describe.",
            show_default=False,
        ),
    ] = None,
    max_critique_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Default: 4096 with critiques, 1 without.", show_default=False),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out unknown tensors that match, * for anything. Repeatable.",
            show_default=False,
        ),
    ] = None,
    golden: Annotated[
        str, typer.Option(help="Type to score golden items in: float32, bfloat16, or none.")
    ] = "float32",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be written, write nothing.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an import that was interrupted.")
    ] = False,
) -> None:
    """Import a reward model: MM-RLHF's form, a classifier of transformers, a value head of TRL.

    Reads safetensors only and writes tensors bit for bit. docs/import.md tells each form.
    """
    if form is not None and form not in _FORMS:
        raise typer.BadParameter(f"{form!r} is none of {', '.join(_FORMS)}", param_hint="--form")
    if golden not in _DTYPES:
        raise typer.BadParameter(
            f"{golden!r} is none of {', '.join(_DTYPES)}", param_hint="--golden"
        )
    from mmreward_trainer.importing.command import run_import
    from mmreward_trainer.importing.conversion import Wishes

    wishes = Wishes(
        source=source,
        form=form,  # type: ignore[arg-type]
        templates=templates,
        vision_config=vision_config,
        max_critique_tokens=max_critique_tokens,
        ignore=tuple(ignore or ()),
    )
    raise typer.Exit(
        run_import(
            wishes,
            output,
            dry_run=dry_run,
            resume=resume,
            golden_dtype=None if golden == "none" else golden,
        )
    )
