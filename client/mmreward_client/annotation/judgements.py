"""The scores of whole groups while they come in: the file of `scores.py` for a judge.

All answers to a question are one group, judged in one piece, each two of them in both orders: a
ranked row with five answers is one line here, not ten pairs. δ of a pair is the difference of two
group scores, each the mean of what its answer got itself over all its comparisons. An answer one of
whose comparisons failed has no score: the mean over the others would rest on other opponents, or
hold the judge's liking for a position undiluted.

    {"key": "...", "status": "ok", "scores": [6.5, 3.0], "errors": [null, null],
     "comparisons": [[0, 1, 7.0, 3.0], [1, 0, 3.0, 6.0]], ...}

A comparison is the places of the answer shown first and of the other, and their scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_client.annotation.scores import KeyedFile, SideScore, read_lines
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.schema import GroupResult


@dataclass(frozen=True)
class GroupScores:
    """What became of a group.

    Attributes:
        sides: of its answers, in the order of the group.
        comparisons: scores of the answer shown first and of the other, by their places.
    """

    sides: tuple[SideScore, ...]
    comparisons: dict[tuple[int, int], tuple[float, float]]

    def orders(self, chosen: int, rejected: int) -> list[float] | None:
        """δ of a pair alone, the chosen answer first and second; None where one is missing."""
        forward = self.comparisons.get((chosen, rejected))
        backward = self.comparisons.get((rejected, chosen))
        if forward is None or backward is None:
            return None
        return [forward[0] - forward[1], backward[1] - backward[0]]


class GroupFile(KeyedFile):
    """The file, opened for adding groups to those that are in it."""

    def __init__(self, path: Path, origin: Origin, keys: Collection[str]) -> None:
        super().__init__(path, origin, keys, _is_whole)

    def add(self, result: GroupResult) -> None:
        """Write a group, or what came instead; once this returns, a kill does not lose it."""
        failed = [_failure_of(result, place) for place in range(len(result.scores))]
        good = [one for one in result.comparisons if one.scores is not None]
        self.write(
            {
                "key": result.id,
                "status": result.status,
                "scores": [
                    score if error is None else None
                    for score, error in zip(result.scores, failed, strict=True)
                ],
                "errors": failed,
                "comparisons": [[one.first, one.second, *(one.scores or ())] for one in good],
                "critiques": [one.critique for one in good],
                "error": result.error,
                "fingerprint": self.origin.fingerprint,
                "request": dict(self.origin.request),
            }
        )


def read_groups(path: Path) -> dict[str, GroupScores]:
    """The groups by key, as `read_lines`."""
    return read_lines(path, _scores_of)


def _failure_of(result: GroupResult, place: int) -> str | None:
    """Why an answer has no score; None where all its comparisons are good."""
    bad = [
        one for one in result.comparisons if place in (one.first, one.second) and one.scores is None
    ]
    if bad:
        # No numbers: places of a group are those of its sorted texts, not of any row's answers.
        shown = "first" if bad[0].first == place else "second"
        return f"shown {shown} in a comparison: {bad[0].status}: {bad[0].error or 'no scores'}"
    return None if result.scores[place] is not None else result.error or result.status


def _scores_of(row: dict[str, Any]) -> GroupScores:
    _is_whole(row)
    sides = tuple(
        SideScore("ok" if score is not None else _status(row), score, None, error)
        for score, error in zip(row["scores"], row["errors"], strict=True)
    )
    comparisons = {
        (first, second): (one, other) for first, second, one, other in row["comparisons"]
    }
    return GroupScores(sides, comparisons)


def _status(row: dict[str, Any]) -> str:
    """Of an answer without a score, in a group that may be good as a whole."""
    found = str(row.get("status"))
    return "partial" if found == "ok" else found


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether each answer has its score.

    Raises:
        InvalidInput: the line is not what `GroupFile` writes.
    """
    scores, errors, comparisons = (row.get(name) for name in ("scores", "errors", "comparisons"))
    if not (isinstance(scores, list) and isinstance(errors, list) and len(scores) == len(errors)):
        raise InvalidInput("`scores` and `errors` are no lists of one length")
    if not all(score is None or _is_number(score) for score in scores):
        raise InvalidInput("`scores` holds what is neither a finite number nor null")
    if not isinstance(comparisons, list) or not all(map(_is_comparison, comparisons)):
        raise InvalidInput("`comparisons` holds what is no comparison")
    return bool(scores) and None not in scores


def _is_comparison(found: object) -> bool:
    return (
        isinstance(found, list)
        and len(found) == 4
        and all(isinstance(place, int) and not isinstance(place, bool) for place in found[:2])
        and all(map(_is_number, found[2:]))
    )


def _is_number(found: object) -> bool:
    is_real = isinstance(found, int | float) and not isinstance(found, bool)
    return is_real and math.isfinite(found)  # type: ignore[arg-type]
