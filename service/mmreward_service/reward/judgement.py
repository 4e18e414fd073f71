r"""The two scores in a judge's text: the one parser that training and serving share.

A judgement ends in `\boxed{a, b}`, the scores of the first and of the second answer (Generative
RLHF-V, arXiv 2505.18531, appendix: exactly two floats inside a box, else no reward). We are
stricter in three places, because each would turn a failure into a score. Only the last box counts,
well-formed or not, and nothing but punctuation may follow it: an earlier one may be quoted from an
answer, which a policy could have written for that purpose. A number that is not finite, or outside
of the checkpoint's `score_range`, is unparsed. And what is unparsed stays that, with its reason,
instead of becoming 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_BOX = re.compile(r"\\boxed\s*\{([^{}]*)\}[\s.$)\]*\\]*\Z")
"""A box at the end; a closing `$`, `\\]`, `\\)`, `**` or full stop belongs to it."""
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
    at = text.rfind("\\boxed")
    if at < 0:
        return Unparsed("the judgement holds no \\boxed{a, b}")
    box = _BOX.match(text, at)
    if box is None:
        return Unparsed("the judgement does not end in \\boxed{a, b}")
    parts = [part.strip() for part in box[1].split(",")]
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
