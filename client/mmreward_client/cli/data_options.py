"""Options of every command that reads preference data, here and in the trainer: how a file is read.

Annotations for typer and checks of what was given, nothing else: this is imported for `--help`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Column = Annotated[
    list[str] | None,
    typer.Option(help="With --form pairs: FIELD=COLUMN; repeatable.", show_default=False),
]
Split = Annotated[str | None, typer.Option(help="Split of a saved dataset.", show_default=False)]
ImageRoot = Annotated[
    Path | None,
    typer.Option(
        help="Where image paths start. Default: the folder of the data.", show_default=False
    ),
]
FramesOfFolder = Annotated[int, typer.Option(min=1, help="Frames taken of a video's folder.")]
FramesPerSecond = Annotated[
    float,
    typer.Option(min=0.001, max=1000, help="Rate of a video's frames where rows have no `fps`."),
]


def check_image_root(image_root: Path | None) -> None:
    """Raises typer.BadParameter where the folder is none."""
    if image_root is not None and not image_root.is_dir():
        raise typer.BadParameter(f"{image_root} is no folder", param_hint="--image-root")
