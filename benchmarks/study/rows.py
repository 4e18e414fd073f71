"""The rows of the study: digits with perfect critiques, NLVR statements, MATH-V problems.

NLVR and MATH-V are split by picture. Their reasons are templates filled from the labels: they hold
the verdict and nothing that was seen.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.critiques import write_critique
from mmreward_trainer.digits.pairs import Split, draw_pair
from PIL import Image

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_OTHERS = ("nlvr", "mathv")
_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def write_rows(folder: Path, digits: dict[str, int], data: Path | None) -> dict[str, int]:
    """Write SPLIT.jsonl and images; returns rows by split and source.

    Args:
        digits: pairs of each split.
        data: folder with nlvr/pairs.jsonl and mathv/pairs.jsonl; None leaves both out.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for split in SPLITS:
        rows = list(_digit_rows(split, digits[split], images))
        for source in _OTHERS if data is not None else ():
            rows += _other_rows(source, split, data / source, images)
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(json.dumps(row) + "\n")
                key = f"{split} {row['category']}"
                counts[key] = counts.get(key, 0) + 1
    return counts


def _digit_rows(split: Split, count: int, images: Path) -> Iterator[dict[str, Any]]:
    for start in range(0, count, 500):
        pairs = [draw_pair(split, "trained", 0, i) for i in range(start, min(start + 500, count))]
        for i, (pair, picture) in enumerate(zip(pairs, render_pictures(pairs), strict=True), start):
            name = f"digits_{split}_{i}.png"
            Image.fromarray(picture).convert("RGB").save(images / name)
            yield {
                "id": f"digits_{split}_{i}",
                "images": [f"images/{name}"],
                "prompt": pair.prompt,
                "chosen": pair.chosen.text,
                "rejected": pair.rejected.text,
                "chosen_reason": write_critique(pair, pair.chosen),
                "rejected_reason": write_critique(pair, pair.rejected),
                "category": "digits",
            }


def _other_rows(source: str, split: str, folder: Path, images: Path) -> Iterator[dict[str, Any]]:
    with (folder / "pairs.jsonl").open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if _split_of(row["image"]) != split:
                continue
            name = f"{source}_{Path(row['image']).name}"
            shutil.copyfile(folder / row["image"], images / name)
            kept = ("prompt", "chosen", "rejected", "chosen_reason", "rejected_reason")
            yield {
                "id": row["id"],
                "images": [f"images/{name}"],
                **{key: row[key] for key in kept},
                "category": source,
            }


def _split_of(image: str) -> str:
    """By the picture's name, so that all statements about it are on one side."""
    place = int(hashlib.sha256(image.encode()).hexdigest()[:8], 16) / 2**32
    for split, share in _SHARES.items():
        if place < share:
            return split
        place -= share
    return "test"
