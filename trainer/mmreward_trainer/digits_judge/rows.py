"""Comparisons of digits as rows of `mmreward-train judge`: a JSON lines file and PNG pictures."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import KIND_SHARES, KINDS, draw_pair
from mmreward_trainer.digits.wordings import Wording
from mmreward_trainer.digits_judge.groups import Comparison, draw_comparison
from mmreward_trainer.digits_judge.judgements import write_judgement

_ROW_SEED = 20_000  # of no training step


def preference_comparisons(
    split: Split, wording: Wording, seed: int, count: int
) -> list[Comparison]:
    """Comparisons with a better answer, which is the first; half of them of graded answers."""
    drawn = []
    kinds = [
        kind for kind, share in zip(KINDS, KIND_SHARES, strict=True) for _ in range(int(50 * share))
    ]
    for index in range(count):
        if index % 2:
            pair = draw_pair(split, wording, _ROW_SEED + seed, index)
            drawn.append(Comparison(pair, pair.chosen, pair.rejected))
            continue
        kind = kinds[index // 2 % len(kinds)]
        one = draw_comparison(split, wording, _ROW_SEED + seed, index, kind, tie_share=0.0)
        drawn.append(one if one.points[0] > one.points[1] else one.swap())
    return drawn


def write_rows(comparisons: list[Comparison], folder: Path, name: str) -> Path:
    """`folder/name.jsonl` and the pictures it names; the first answer is the chosen one.

    Raises:
        ValueError: a comparison whose first answer is not the better one.
    """
    pictures = folder / f"{name}_pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = render_pictures([one.pair for one in comparisons])
    lines = []
    for number, (one, picture) in enumerate(zip(comparisons, drawn, strict=True)):
        if not one.points[0] > one.points[1]:
            raise ValueError(f"comparison {number}: the first answer is not the better one")
        file = pictures / f"{number}.png"
        Image.fromarray(picture).convert("RGB").save(file)
        row = {
            "id": f"{name}-{number}",
            "prompt": one.pair.prompt,
            "images": [str(file.relative_to(folder))],
            "chosen": one.first.text,
            "rejected": one.second.text,
            "judgement": write_judgement(one),
            "judgement_swapped": write_judgement(one.swap()),
            "category": one.pair.kind,
        }
        lines.append(json.dumps(row))
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
