"""The answer file of an evaluation under way: a line per pair, complete after any kill.

A line is the benchmark's row with these fields added: `rewards` and `critic` as the released
evaluation of MM-RLHF writes them, `delta`, `prob`, `status`, `error`, and where they come from:
`fingerprint` (provenance of the service), `request` (mode and sampling), `row_sha256`. Of a judge
`orders` holds δ of both orders, and `critic` its two judgements, the one with the chosen answer
shown first before the other: a judgement is about both answers. A failed pair has null rewards, on
which the released metric script stops: it knows no failure.

How the file is resumed says `resuming.py`. (The released script resumes by id, and so loses the
remaining pairs of a question that was half answered.) Changed picture files are not noticed.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmreward_client.evaluation.answers import judged
from mmreward_client.evaluation.questions import Question, row_sha256
from mmreward_client.evaluation.resuming import Key, Lines, Origin, ResumedFile
from mmreward_client.schema import PairResult, Scored


def _is_answered(row: dict[str, Any]) -> bool:
    return judged(row).rewards is not None


_LINES = Lines(row_sha256, _is_answered, "the benchmark file")


class AnswerFile(ResumedFile):
    """A file of pairs with their rewards, opened for adding to what is already in it."""

    def __init__(self, path: Path, origin: Origin, asked: Collection[Key]) -> None:
        super().__init__(path, origin, asked, _LINES)

    def add(self, question: Question, result: PairResult) -> None:
        """Write the answer; once this returns, a kill of this process does not lose it."""
        self.write(answer(question, result, self.origin))


def answer(question: Question, result: PairResult, origin: Origin) -> dict[str, Any]:
    """The line of one pair."""
    rewards = None
    if result.status == "ok" and result.chosen is not None and result.rejected is not None:
        rewards = [result.chosen.score, result.rejected.score]
    judge: dict[str, Any] = {}
    critic = [_critique(result.chosen), _critique(result.rejected)]
    if result.orders is not None:
        judge = {"orders": list(result.orders)}
        critic = _judgements(result.chosen)
    return {
        **question.row,
        "rewards": rewards,
        "critic": critic,
        "delta": result.delta,
        **judge,
        "prob": result.prob,
        "status": result.status,
        "error": result.error,
        "fingerprint": origin.fingerprint,
        "request": dict(origin.request),
        "row_sha256": question.key[0],
    }


def _critique(scored: Scored | None) -> str | None:
    texts = [critique.text for critique in scored.critiques if critique.text] if scored else []
    return texts[0] if texts else None


def _judgements(scored: Scored | None) -> list[str | None]:
    """The first judgement of each order; a judge's critiques are those of one order, then of the
    other, equally many."""
    found = scored.critiques if scored is not None else []
    half = len(found) // 2
    return [found[0].text, found[half].text] if half else [None, None]
