"""Held-out pairs as the judge is served: greedy, each pair in both orders.

A judgement that cannot be read is no judgement: its pair is not judged and is counted so. Accuracy
is over judged pairs, `right_of_all` over all of them: a judge that learns to end its texts gains
there without judging better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmreward_trainer.critique.writing import Writer
from mmreward_trainer.judge.encoding import ComparisonEncoder
from mmreward_trainer.judge.rewards import Verdict, read_verdict, shares


@dataclass(frozen=True)
class JudgedPair:
    """A pair as the model judged it, with the preferred answer first and second.

    Attributes:
        texts: None where one was cut off.
    """

    where: str
    category: str | None
    verdicts: tuple[Verdict, Verdict]
    texts: tuple[str | None, str | None]

    @property
    def deltas(self) -> tuple[float, float] | None:
        """Score of the preferred minus that of the other answer in either order, if both exist."""
        first, second = (one.scores for one in self.verdicts)
        if first is None or second is None:
            return None
        return first[0] - first[1], second[1] - second[0]


@dataclass(frozen=True)
class Validation:
    """Judges the pairs of a table that have a preference.

    Attributes:
        rows: the table; the first `limit` of its rows that are no ties are judged.
    """

    encoder: ComparisonEncoder
    writer: Writer
    rows: Any
    limit: int
    pairs_per_batch: int

    @torch.no_grad()
    def judge(self, model: Any, *, together: bool = False) -> list[JudgedPair]:
        """All pairs in order. Every process judges all of them, so that none waits for another.

        Args:
            model: a plain or PEFT model, not one wrapped for several processes.
        """
        ties = self.rows.with_format(None).select_columns(["is_tie"])["is_tie"]
        chosen = [i for i, is_tie in enumerate(ties) if not is_tie][: self.limit]
        judged: list[JudgedPair] = []
        for start in range(0, len(chosen), self.pairs_per_batch):
            numbers = chosen[start : start + self.pairs_per_batch]
            judged += self._judge(model, [self.rows[i] for i in numbers], together)
        return judged

    def _judge(self, model: Any, rows: list[dict[str, Any]], together: bool) -> list[JudgedPair]:
        pairs = [self.encoder.encode(row) for row in rows]
        renderer = self.encoder.builder.renderer
        found = []
        written = self.writer.write(model, pairs, temperature=0.0, together=together)
        for pair, both in zip(pairs, written, strict=True):
            texts = tuple(None if ids is None else renderer.decode(ids) for ids in both)
            verdicts = tuple(
                read_verdict(
                    text,
                    chosen_first=comparison.chosen_first,
                    score_range=renderer.spec.score_range,
                )
                for text, comparison in zip(texts, pair.answers, strict=True)
            )
            found.append(
                JudgedPair(
                    pair.where,
                    pair.category,
                    (verdicts[0], verdicts[1]),
                    (texts[0], texts[1]),
                )
            )
        return found


def figures(judged: Sequence[JudgedPair]) -> dict[str, float]:
    """Numbers of judged pairs.

    Returns:
        `pairs`, `judged` (both orders read), `unfinished` (the rest); `right_of_all`; over judged
        pairs `accuracy` (the mean of both orders prefers the right answer: what the service
        answers), `accuracy_both` (each order does), `order_consistency` (both orders name the same
        winner; two ties agree) and `delta`, the mean margin; `accuracy_one_order` over all
        judgements that were read; and the shares of `rewards.shares`.
    """
    deltas = [one.deltas for one in judged if one.deltas is not None]
    verdicts = [verdict for one in judged for verdict in one.verdicts]
    found: dict[str, float] = {
        "pairs": len(judged),
        "judged": len(deltas),
        "unfinished": len(judged) - len(deltas),
    }
    if not judged:
        return found
    right = sum(forward + backward > 0 for forward, backward in deltas)
    found["right_of_all"] = right / len(judged)
    if deltas:
        number = len(deltas)
        found["accuracy"] = right / number
        found["accuracy_both"] = sum(min(both) > 0 for both in deltas) / number
        found["order_consistency"] = sum(_sign(a) == _sign(b) for a, b in deltas) / number
        found["delta"] = sum(sum(both) / 2 for both in deltas) / number
    read = [one for one in verdicts if one.scores is not None]
    if read:
        found["accuracy_one_order"] = sum(one.kind == "right" for one in read) / len(read)
    return found | shares(verdicts)


def _sign(delta: float) -> int:
    return (delta > 0) - (delta < 0)
