"""The judgements that the benchmarks score: real photos or drawn ones, with real answers.

A judgement is (picture, question, answer). Photos come from a folder with `groups.jsonl` (rows of
id, image, prompt, responses[{model, text}]); where there is none, `drawn` makes pictures of noise,
which cost an engine the same.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring.machine import REPOSITORY
from PIL import Image

PHOTOS = REPOSITORY.parent / "shared" / "data" / "owleval"
MAX_RESPONSE_CHARACTERS = 600
"""Longer answers are cut, so that the longest one does not decide the length of a batch."""


@dataclass(frozen=True)
class Judgement:
    """One picture (as the file's bytes), one question, one answer."""

    id: str
    image: bytes
    prompt: str
    response: str

    def picture(self) -> Image.Image:
        return Image.open(io.BytesIO(self.image)).convert("RGB")

    @property
    def image_hash(self) -> str:
        return hashlib.sha256(self.image).hexdigest()

    @property
    def media_type(self) -> str:
        return "image/png" if self.image.startswith(b"\x89PNG") else "image/jpeg"


def photo_judgements(folder: Path, count: int, max_pixels: int | None = None) -> list[Judgement]:
    """`count` judgements, as many different photos as possible; the folder's rows, repeated.

    With `max_pixels` photos are scaled down and sent as PNG; without, files are taken as they are.
    """
    if str(folder) == "drawn":
        return drawn_judgements(count)
    if not (folder / "groups.jsonl").is_file():
        raise FileNotFoundError(f"{folder}/groups.jsonl: no photos there (try --photos drawn)")
    rows = [json.loads(line) for line in (folder / "groups.jsonl").open(encoding="utf-8")]
    images = {
        name: _scaled((folder / name).read_bytes(), max_pixels)
        for name in {row["image"] for row in rows}
    }
    found = [
        Judgement(
            id=f"{row['id']}/{response['model']}",
            image=images[row["image"]],
            prompt=row["prompt"],
            response=response["text"][:MAX_RESPONSE_CHARACTERS] or "(nothing)",
        )
        for row, response in _photos_in_turn(rows)
    ]
    return list(itertools.islice(itertools.cycle(found), count))


def _photos_in_turn(rows: list[dict]) -> Iterator[tuple[dict, dict]]:
    """Every (row, response), going through all photos before any photo comes again."""
    by_photo: dict[str, list[tuple[dict, dict]]] = {}
    for row in rows:
        by_photo.setdefault(row["image"], []).extend((row, r) for r in row["responses"])
    for layer in itertools.zip_longest(*by_photo.values()):
        yield from (one for one in layer if one is not None)


def _scaled(data: bytes, max_pixels: int | None) -> bytes:
    if max_pixels is None:
        return data
    image = Image.open(io.BytesIO(data)).convert("RGB")
    factor = (max_pixels / (image.width * image.height)) ** 0.5
    if factor < 1:
        size = (max(28, round(image.width * factor)), max(28, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return _png(image)


def drawn_judgements(count: int, width: int = 640, height: int = 480) -> list[Judgement]:
    """Pictures of smooth noise with made-up text; every one differs."""
    judgements = []
    for i in range(count):
        coarse = np.random.default_rng(i).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        response = " ".join(f"Spot {j} is near corner {(i + j) % 4}." for j in range(8 + i % 9))
        judgements.append(Judgement(f"drawn_{i}", _png(image), "What is where?", response))
    return judgements


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
