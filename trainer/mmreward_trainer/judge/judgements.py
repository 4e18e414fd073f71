"""The judgement that a row holds for an order of its answers, or one composed of its reasons.

A composed judgement has the three lines of the default prompt:

    Specific Criteria: ...
    Analysis: First answer: {reason} Second answer: {reason}
    Scores: \\boxed{8, 3}

A judgement that a row brings is checked with the parser of the service: what does not hold two
scores, or prefers the answer that the row does not prefer, would teach the opposite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmreward_service.reward.judgement import Unparsed, parse_scores

from mmreward_trainer.critique.rows import RowError
from mmreward_trainer.judge.configuration import Composed

CHOSEN_FIRST, SWAPPED = "judgement", "judgement_swapped"
"""Columns of the table, whatever they are called in the rows."""


def judgement_of(
    row: dict[str, Any],
    composed: Composed,
    score_range: Sequence[float] | None,
    *,
    chosen_first: bool,
) -> str | None:
    """What a judge should write for this order; None if the row does not say.

    Raises:
        RowError: the row's judgement holds no two scores, or contradicts the row.
    """
    column = CHOSEN_FIRST if chosen_first else SWAPPED
    given: str | None = row.get(column)
    if given is not None:
        _check(row, column, given, score_range, chosen_first)
        return given
    if row["is_tie"] or row["chosen_reason"] is None or row["rejected_reason"] is None:
        return None
    sides = ("chosen", "rejected") if chosen_first else ("rejected", "chosen")
    first, second = (row[f"{side}_reason"].strip() for side in sides)
    scores = [getattr(composed, f"{side}_score") for side in sides]
    return (
        f"Specific Criteria: {composed.criteria}\n"
        f"Analysis: First answer: {first} Second answer: {second}\n"
        f"Scores: \\boxed{{{scores[0]:g}, {scores[1]:g}}}"
    )


def has_judgement(row: dict[str, Any]) -> bool:
    """Whether one of the two orders can be learned; needs no pictures."""
    has_reasons = row["chosen_reason"] is not None and row["rejected_reason"] is not None
    given = row.get(CHOSEN_FIRST) is not None or row.get(SWAPPED) is not None
    return given or (has_reasons and not row["is_tie"])


def _check(
    row: dict[str, Any],
    column: str,
    text: str,
    score_range: Sequence[float] | None,
    chosen_first: bool,
) -> None:
    scores = parse_scores(text, score_range)
    if isinstance(scores, Unparsed):
        raise RowError(f"{row['where']}: {column}: {scores.reason}")
    chosen, rejected = scores if chosen_first else scores[::-1]
    if row["is_tie"] and chosen != rejected:
        raise RowError(f"{row['where']}: {column}: {text[-30:]!r} prefers one of a tie")
    if not row["is_tie"] and not chosen > rejected:
        raise RowError(
            f"{row['where']}: {column}: the scores {scores[0]:g} and {scores[1]:g} do not prefer "
            f"the {'first' if chosen_first else 'second'} answer, which the row prefers"
        )
