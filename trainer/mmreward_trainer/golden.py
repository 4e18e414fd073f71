"""Golden items of a checkpoint: drawn pictures and fixed texts, scored by plain transformers.

They show that the service computes what transformers computes with the written folder. That the
folder computes what its source computed is shown by the tests of each form, not by these numbers.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_service.reward.slot import MAX_ABS_SCORE
from mmreward_service.reward.spec import GoldenItem
from PIL import Image, ImageDraw


class GoldenError(ValueError):
    """The checkpoint gives a drawn picture a score that cannot be served."""


@dataclass(frozen=True)
class _Question:
    draw: Callable[[], Image.Image]
    prompt: str
    response: str
    critique: str


def _circle() -> Image.Image:
    picture = Image.new("RGB", (224, 224), (245, 245, 240))
    ImageDraw.Draw(picture).ellipse((60, 60, 164, 164), fill=(200, 30, 40))
    return picture


def _squares() -> Image.Image:
    picture = Image.new("RGB", (320, 160), (20, 40, 90))
    pen = ImageDraw.Draw(picture)
    for left in (30, 130, 230):
        pen.rectangle((left, 50, left + 60, 110), fill=(250, 210, 40))
    return picture


def _stripes() -> Image.Image:
    picture = Image.new("RGB", (150, 260), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    for top in range(0, 260, 40):
        pen.rectangle((0, top, 150, top + 20), fill=(30, 120, 60))
    return picture


QUESTIONS = (
    _Question(_circle, "What is in the picture?", "A red disc.", "The answer names what is there."),
    _Question(_circle, "What is in the picture?", "A dog.", "There is no dog in the picture."),
    _Question(_squares, "How many squares are there?", "Three.", "Three is the right number."),
    _Question(_stripes, "Which way do the stripes run?", "Upwards.", "They run from side to side."),
)


def golden_items(
    folder: Path, *, critiques: bool, dtype: str, progress: Callable[[int], None]
) -> list[GoldenItem]:
    """Score the drawn pictures with a checkpoint folder. Loads the whole model, on the CPU.

    Args:
        critiques: False for a model that reads its score without one: the critique is empty.
        dtype: name of the torch type to compute in.
        progress: called with 1 after each item.
    Raises:
        GoldenError: a score is not finite, or too large for the slot.
    """
    import torch
    from transformers.utils import logging

    from mmreward_trainer.transformers_scorer import TransformersScorer

    # The head's tensors, which transformers does not know, are no news here.
    logging.set_verbosity_error()
    scorer = TransformersScorer(folder, getattr(torch, dtype))
    items = []
    for question in QUESTIONS:
        picture = question.draw()
        fields: dict[str, Any] = {
            "prompt": question.prompt,
            "response": question.response,
            "critique": question.critique if critiques else "",
        }
        ids = scorer.renderer.render(images=1, mode="given", **fields)
        [score] = scorer.read([ids], [[picture]])
        if not math.isfinite(score) or abs(score) > MAX_ABS_SCORE:
            raise GoldenError(
                f"the model gives a drawn picture the score {score:g}, and the score slot "
                f"carries finite scores up to ±{MAX_ABS_SCORE:g}"
            )
        items.append(GoldenItem(image=_png(picture), score=score, **fields))
        progress(1)
    return items


def _png(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
