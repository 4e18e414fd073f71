"""Figures about pairs judged in both orders: accuracy, order consistency, ties, parse rate.

With both orders the answer with the higher mean score wins, as in `POST /v1/pairs`. A tie is wrong,
and so is a pair one of whose judgements holds no scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmreward_trainer.digits.metrics import share
from mmreward_trainer.digits.pairs import KINDS, Pair
from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits_judge.groups import Comparison
from mmreward_trainer.digits_judge.judgements import write_judgement
from mmreward_trainer.digits_judge.judging import Judgement, judge


@dataclass(frozen=True)
class JudgedPair:
    """A preference pair, judged with the better answer first and with it second."""

    pair: Pair
    forward: Judgement
    backward: Judgement

    @property
    def deltas(self) -> tuple[float | None, float | None]:
        """score(chosen) - score(rejected) in both orders; None where there are no scores."""
        first, second = self.forward.scores, self.backward.scores
        return (
            None if first is None else first[0] - first[1],
            None if second is None else second[1] - second[0],
        )

    @property
    def delta(self) -> float | None:
        forward, backward = self.deltas
        return None if forward is None or backward is None else (forward + backward) / 2


def judge_pairs(digit_model: DigitModel, pairs: list[Pair]) -> list[JudgedPair]:
    forwards = [Comparison(pair, pair.chosen, pair.rejected) for pair in pairs]
    both = [one for forward in forwards for one in (forward, forward.swap())]
    judged = judge(digit_model, both)
    return [JudgedPair(pair, judged[2 * i], judged[2 * i + 1]) for i, pair in enumerate(pairs)]


def judge_summary(judged: list[JudgedPair]) -> dict[str, Any]:
    """All figures of judged pairs, as shares; kinds are of clean pairs."""
    texts = [one for result in judged for one in (result.forward, result.backward)]
    deltas = [delta for result in judged for delta in result.deltas]
    clean = [result for result in judged if not result.pair.is_hard]
    hard = [result for result in judged if result.pair.is_hard]
    return {
        "pairs": len(judged),
        "both_orders": share(map(_is_right, judged)),
        "both_orders_clean": share(map(_is_right, clean)),
        "both_orders_hard": share(map(_is_right, hard)),
        "kinds": {
            kind: share(_is_right(r) for r in clean if r.pair.kind == kind) for kind in KINDS
        },
        "one_order": share(delta is not None and delta > 0 for delta in deltas),
        "better_first": share(_above_zero(result.deltas[0]) for result in judged),
        "better_second": share(_above_zero(result.deltas[1]) for result in judged),
        "order_consistency": order_consistency(judged),
        "first_wins": share(one.scores[0] > one.scores[1] for one in texts if one.scores),
        "ties": share(one.scores[0] == one.scores[1] for one in texts if one.scores),
        "parsed": share(one.status == "ok" for one in texts),
        "points_exact": share(_has_points(one) for one in texts),
        "text_exact": share(one.text == write_judgement(one.comparison) for one in texts),
    }


def order_consistency(judged: Iterable[JudgedPair]) -> float | None:
    """Share of pairs in which both orders name the same winner; two ties agree."""
    signs = [
        [(delta > 0) - (delta < 0) for delta in result.deltas if delta is not None]
        for result in judged
    ]
    return share(forward == backward for forward, backward in (s for s in signs if len(s) == 2))


def _is_right(result: JudgedPair) -> bool:
    return _above_zero(result.delta)


def _above_zero(delta: float | None) -> bool:
    return delta is not None and delta > 0


def _has_points(one: Judgement) -> bool:
    return one.scores == tuple(map(float, one.comparison.points))
