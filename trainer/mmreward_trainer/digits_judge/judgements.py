r"""The judgement of two answers: what the question asks for, what is seen, each answer, the scores.

The lines are those of Generative RLHF-V (arXiv 2505.18531, appendix): Specific Criteria, Analysis,
Scores. The steps are those of the critiques, which the model writes already: one small comparison
at a time. Both answers are compared with the same finding, and each gets its points where it has
been compared; the last line copies them.

    Specific Criteria: count.
    Analysis: I see 3 5 / 3 8. It is clear. Find 3: 3 yes, 5 no, 3 yes, 8 no. The count is 2. The
    first says 1. 2 and 1 differ by 1: 7. The second says 2. 2 and 2 match: 10.
    Scores: \boxed{7, 10}
"""

from __future__ import annotations

from typing import NamedTuple

from mmreward_trainer.digits.critiques import finding, observation
from mmreward_trainer.digits.pairs import Claim
from mmreward_trainer.digits_judge.groups import Comparison
from mmreward_trainer.digits_judge.qualities import NUMBER_POINTS, points, truth

_CRITERIA = {
    "naming": "digit, no thing",
    "object": "digit, no thing",
    "location_what": "digit",
    "location_where": "right and left",
    "sum": "sum",
    "list": "every digit",
    "count": "count",
    "existence": "count",
}


class Part(NamedTuple):
    """A stretch of a judgement; its kind tells how much a token of it counts in training."""

    kind: str  # frame, seen, work, claim, compared
    text: str
    claim: Claim | None = None


def write_judgement(comparison: Comparison) -> str:
    """The judgement that a perfect reader of the picture would write."""
    return "".join(part.text for part in judgement_parts(comparison))


def judgement_parts(comparison: Comparison) -> list[Part]:
    pair = comparison.pair
    parts = [
        Part("frame", f"Specific Criteria: {_CRITERIA[pair.form]}.\nAnalysis:"),
        Part("seen", f" {observation(pair)}"),
    ]
    if pair.form != "list":
        parts.append(Part("work", finding(pair)[1]))
    for name, claim in (("first", comparison.first), ("second", comparison.second)):
        parts += [
            Part("claim", f" The {name} says {claim.value}.", claim),
            Part("compared", f" {_compared(comparison, claim)}: {points(pair, claim)}.", claim),
        ]
    first, second = comparison.points
    return [*parts, Part("frame", f"\nScores: \\boxed{{{first}, {second}}}")]


def _compared(comparison: Comparison, claim: Claim) -> str:
    """The truth beside what an answer says, in steps of one comparison each."""
    pair, found = comparison.pair, truth(comparison.pair)
    if pair.form in ("list", "location_where"):
        steps = ", ".join(
            f"{seen} {said} {'yes' if seen == said else 'no'}"
            for seen, said in zip(_words(found), _words(claim.value), strict=True)
        )
        return f"Compare: {steps}"
    if pair.form in ("count", "sum"):
        off = abs(int(found) - int(claim.value))
        told = "match" if not off else f"differ by {off if off in NUMBER_POINTS else 'more'}"
        return f"{found} and {claim.value} {told}"
    agree = "match" if claim.agrees_with(found) else "differ"
    text = f"{found} and {claim.value} {agree}"
    if pair.form in ("naming", "object"):
        text += ". It adds a thing" if claim.adds_thing else ". It adds nothing"
    return text


def _words(value: str) -> list[str]:
    return value.replace("/", "").split()
