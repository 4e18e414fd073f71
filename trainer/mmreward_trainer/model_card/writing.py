"""README.md of a checkpoint folder.

A card is made anew from what is known each time it is written. What people have added below its
last line is theirs and is kept. A README.md that is no card of ours is put aside, never lost.
"""

from __future__ import annotations

import os
from pathlib import Path

from mmreward_client.file_replacement import replace_file

from mmreward_trainer.model_card.card import ModelCard
from mmreward_trainer.model_card.rendering import render

CARD_FILE = "README.md"
ASIDE_FILE = "README.before.md"
LAST_LINE = "<!-- mmreward-train card: written anew up to here; what follows is kept -->"


class CardError(ValueError):
    """The card cannot be made or written; the message says why."""


def write_model_card(folder: Path, card: ModelCard, *, overwrite: bool = False) -> Path:
    """Write the card of a checkpoint folder.

    Args:
        overwrite: replace a README.md that was not written here, and keep it as README.before.md.

    Returns:
        The file.

    Raises:
        CardError: there is a README.md that was not written here, or two of them.
        OSError: a file cannot be read or written.
    """
    path = folder / CARD_FILE
    own = "\n"
    if path.exists():
        _, found, rest = path.read_text(encoding="utf-8").partition(LAST_LINE)
        if found:
            own = rest
        elif not overwrite:
            raise CardError(f"{path} was not written by this command: it is left as it is")
        else:
            _put_aside(path)
    replace_file(path, f"{render(card)}\n{LAST_LINE}{own}")
    return path


def _put_aside(path: Path) -> None:
    aside = path.with_name(ASIDE_FILE)
    if aside.exists():
        raise CardError(f"{path} was not written by this command, and {aside} is there already")
    os.replace(path, aside)
