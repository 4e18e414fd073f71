"""A pair before a judge: compared in both orders, which cancels its liking for a position.

delta is the mean of the two orders' differences, and the score of a side the mean of its two
scores. Where one order fails the pair has no number at all: what the other order says holds the
judge's liking for a position undiluted, and nobody could tell from the number. Its judgement is
shown all the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack

from mmreward_client.schema import Critique, PairItem, PairResult, PairsRequest, Scored

from mmreward_service.asking import Asker, Failure
from mmreward_service.intake import Parsed
from mmreward_service.judging.comparison import Judgement, compare, count_comparison, overall
from mmreward_service.judging.consistency import agreements
from mmreward_service.judging.schedule import Game
from mmreward_service.reward.judgement import Scores
from mmreward_service.reward.margin import margin, mean_and_stderr

Judged = list[Judgement] | Failure

_ORDERS = ("chosen first", "chosen second")


class JudgedPairs:
    """The way of `/v1/pairs` with a judge."""

    def __init__(self, request: PairsRequest) -> None:
        self._request = request

    def critiques(self, item: PairItem) -> int:
        return 2

    def invalid(self, parsed: Parsed, error: str) -> PairResult:
        return PairResult(index=parsed.index, id=parsed.id, status="invalid", error=error)

    async def serve(self, asker: Asker, index: int, id_: str | None, item: PairItem) -> PairResult:
        async with AsyncExitStack() as held:
            media = await asker.attempt(lambda: held.enter_async_context(asker.media(item)))
            if isinstance(media, Failure):
                asker.ticket.release(2 * asker.accepted.critiques)
                for _ in _ORDERS:
                    count_comparison(asker, media)
                return _failed(index, id_, [], media)
            judged = await asyncio.gather(
                compare(asker, item, media, item.chosen, item.rejected, siblings=2),
                compare(asker, item, media, item.rejected, item.chosen, siblings=2),
            )
        for order, one in zip(_ORDERS, judged, strict=True):
            if failure := _failure(one):
                named = Failure(failure.status, f"{order}: {failure.error}")
                return _failed(index, id_, judged, named)
        orders = [one for one in judged if not isinstance(one, Failure)]
        return self._result(asker, index, id_, orders)

    def _result(
        self, asker: Asker, index: int, id_: str | None, orders: list[list[Judgement]]
    ) -> PairResult:
        """Both orders hold at least one good judgement."""
        good = [[one.scores for one in order if one.scores is not None] for order in orders]
        forward, f_stderr = mean_and_stderr([first - second for first, second in good[0]])
        backward, b_stderr = mean_and_stderr([second - first for first, second in good[1]])
        _observe(asker, forward, backward)
        calibration = asker.service.engine.spec.find_calibration(
            "generate", asker.accepted.critiques, "judge"
        )
        # Both sides' scores are of the same texts, so the noise is that of their differences.
        delta = ((forward + backward) / 2, _half_of_both(f_stderr, b_stderr))
        between = margin(delta, (0.0, 0.0), calibration, self._request.beta)
        return PairResult(
            index=index,
            id=id_,
            status="ok",
            chosen=_side(orders, good, 0),
            rejected=_side(orders, good, 1),
            delta=between.delta,
            delta_stderr=between.delta_stderr,
            prob=between.prob,
            delta_calibrated=between.delta_calibrated,
            beta=between.beta,
            orders=(forward, backward),
        )


def _side(orders: list[list[Judgement]], good: list[list[Scores]], at: int) -> Scored:
    """The score of the side that is shown at place `at` in the first order."""
    first, first_stderr = mean_and_stderr([scores[at] for scores in good[0]])
    second, second_stderr = mean_and_stderr([scores[1 - at] for scores in good[1]])
    return Scored(
        status="ok",
        score=(first + second) / 2,
        score_stderr=_half_of_both(first_stderr, second_stderr),
        critiques_ok=len(good[0]) + len(good[1]),
        critiques=_critiques(orders, at),
    )


def _critiques(orders: Sequence[Judged], at: int) -> list[Critique]:
    """All judgements, each with the score it gives to that side."""
    return [
        Critique(
            text=one.text,
            score=None if one.scores is None else one.scores[place],
            status=one.status,
            finish_reason=one.finish_reason,
            tokens=one.tokens,
            error=one.error,
        )
        for order, place in zip(orders, (at, 1 - at), strict=True)
        if not isinstance(order, Failure)
        for one in order
    ]


def _failed(index: int, id_: str | None, judged: Sequence[Judged], failure: Failure) -> PairResult:
    chosen, rejected = (
        Scored(
            status=failure.status,
            critiques=_critiques(judged, at) if judged else [],
            error=failure.error,
        )
        for at in (0, 1)
    )
    return PairResult(
        index=index,
        id=id_,
        status=failure.status,
        chosen=chosen,
        rejected=rejected,
        error=failure.error,
    )


def _failure(judged: Judged) -> Failure | None:
    """Why an order has no scores."""
    if isinstance(judged, Failure):
        return judged
    one = overall(judged)
    return None if one.scores is not None else Failure(one.status, one.error or one.status)


def _half_of_both(one: float | None, other: float | None) -> float | None:
    """The standard error of the mean of two independent orders."""
    return None if one is None or other is None else math.hypot(one, other) / 2


def _observe(asker: Asker, forward: float, backward: float) -> None:
    played = {Game(0, 1): (forward, 0.0), Game(1, 0): (0.0, backward)}
    asker.service.metrics.quality.orders(agreements(played))
    asker.service.metrics.quality.margin("judge", (forward + backward) / 2)
