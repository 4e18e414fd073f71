r"""The two scores in a judge's text: the one parser that training and serving share.

A judgement ends in `\boxed{a, b}`, the scores of the first and of the second answer (Generative
RLHF-V, arXiv 2505.18531, appendix: exactly two floats inside a box, else no reward). Where the
judge boxes more than once, the last box counts: models restate their scores. We differ in two
places. A number that is not finite, or outside of the checkpoint's `score_range`, is unparsed:
there it would be a score. And what is unparsed stays that, with its reason, instead of becoming 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_BOX = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Unparsed:
    """Why a text holds no two scores."""

    reason: str


Scores = tuple[float, float]


def parse_scores(text: str, score_range: Sequence[float] | None = None) -> Scores | Unparsed:
    """Scores of the first and the second answer.

    Args:
        score_range: lowest and highest allowed score, both included; None: any finite number.
    """
    boxes: list[str] = _BOX.findall(text)
    if not boxes:
        return Unparsed("the judgement holds no \\boxed{a, b}")
    parts = [part.strip() for part in boxes[-1].split(",")]
    if len(parts) != 2:
        return Unparsed(f"{len(parts)} numbers in the box, not two")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return Unparsed("the box holds something else than numbers")
    first, second = float(parts[0]), float(parts[1])
    for score in (first, second):
        if not math.isfinite(score):
            return Unparsed("a score is not finite")
        if score_range is not None and not score_range[0] <= score <= score_range[1]:
            return Unparsed(f"score {score:g} is outside of {list(score_range)}")
    return first, second
