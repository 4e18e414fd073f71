"""Tiny checkpoints and small data sets for training tests."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import Family, TinyOptions, build_tiny_checkpoint

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
Checkpoints = Callable[..., Path]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Builds a tiny checkpoint, once per family and options."""
    built: dict[tuple[Family, TinyOptions], Path] = {}

    def build(family: Family, options: TinyOptions | None = None) -> Path:
        key = (family, options or TinyOptions())
        if key not in built:
            built[key] = tmp_path_factory.mktemp(family)
            build_tiny_checkpoint(built[key], family, options)
        return built[key]

    return build


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def coloured(name: str, seed: int) -> Image.Image:
    """A square of one colour with a little noise."""
    noise = np.random.default_rng(seed).integers(0, 20, (56, 56, 3))
    return Image.fromarray((np.array(COLOURS[name]) + noise).astype(np.uint8))


def colour_row(number: int, folder: Path, **changes: Any) -> dict[str, Any]:
    """A pair about the colour of a square, with reasons."""
    names = list(COLOURS)
    true, false = names[number % 3], names[(number + 1) % 3]
    file = folder / f"{number}.png"
    file.write_bytes(png(coloured(true, number)))
    row = {
        "id": str(number),
        "images": [file.name],
        "prompt": "What colour?",
        "chosen": f"It is {true}.",
        "rejected": f"It is {false}.",
        "chosen_reason": f"I see {true}. Right.",
        "rejected_reason": f"I see {true}. Wrong.",
    }
    return {name: value for name, value in (row | changes).items() if value is not None}


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.jsonl with 24 pairs (ties and missing reasons among them), validation.jsonl with 6."""
    folder = tmp_path_factory.mktemp("colours")
    special: dict[int, dict[str, Any]] = {
        3: {"is_tie": True},
        5: {"chosen_reason": None, "rejected_reason": None},
        8: {"chosen_reason": None, "rejected_reason": None, "is_tie": True},
    }
    rows = [colour_row(i, folder, **special.get(i, {})) for i in range(24)]
    write_rows(folder / "train.jsonl", rows)
    held = [colour_row(i, folder) for i in range(100, 106)]
    write_rows(folder / "validation.jsonl", held)
    return folder
