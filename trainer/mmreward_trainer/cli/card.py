"""`mmreward-train card`: the model card of a checkpoint folder, written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(
    folder: Annotated[Path, typer.Argument(help="Checkpoint folder; its README.md is written.")],
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            help="Figures: an answer file or a report of `mmreward evaluate`; repeatable.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Default: the folder's name.", show_default=False)
    ] = None,
    summary: Annotated[
        str | None, typer.Option(help="What the model is, in a sentence.", show_default=False)
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="As the Hub names it.", show_default=False)
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="As the Hub names it.", show_default=False)
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of the training data.", show_default=False)
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Trained on, as the Hub names it; repeatable.", show_default=False),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a README.md of other origin, and keep it aside."),
    ] = False,
) -> None:
    """Write the model card from the folder's records; what was not measured is said to be so."""
    from mmreward_service.reward.checkpoint import CheckpointError

    from mmreward_trainer.digits.card import RECORD_FILE, digits_card
    from mmreward_trainer.model_card.runs import card_of
    from mmreward_trainer.model_card.writing import CardError, write_model_card

    files = evaluation or []
    said = {
        "name": name,
        "summary": summary,
        "license": license_,
        "base_model": base_model,
        "language": language,
        "datasets": tuple(dataset) if dataset else None,
    }
    try:
        if (folder / RECORD_FILE).is_file():
            if any(value is not None for value in said.values()):
                raise typer.BadParameter("a card of the bundled model says these things itself")
            made = digits_card(folder, files)
        else:
            made = card_of(folder, files, **said)
        path = write_model_card(folder, made, overwrite=overwrite)
    except (CardError, CheckpointError, OSError) as error:
        typer.echo(f"mmreward-train: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"mmreward-train: wrote {path}", err=True)
