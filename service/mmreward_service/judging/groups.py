"""A group: its responses compared with each other, and a score for each of them.

Responses that are the same text are one response to the judge: they are compared once, under the
index of the first, and share its score. Where all of them are the same there is nothing to compare
them with but themselves; then the text is shown against itself once and every copy gets the mean of
both scores. So it has a score on the judge's own scale, as a group of near-copies has, and what a
judge's liking for a position adds to one side it takes from the other.

Responses that were not complete take no part and have no score (Generative RLHF-V, arXiv
2505.18531, gives them 0, which a policy cannot tell from the worst of answers).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mmreward_client.schema import Comparison, GroupItem, GroupResult, GroupsRequest, Status

from mmreward_service.asking import Asker, Failure
from mmreward_service.intake import Parsed
from mmreward_service.judging.aggregation import AGGREGATIONS, comparisons_of
from mmreward_service.judging.comparison import compare, comparison, count_comparison
from mmreward_service.judging.consistency import agreements
from mmreward_service.judging.schedule import Game, number_of_games, schedule
from mmreward_service.reward.judgement import Scores

_LARGE = 300
"""Comparisons from which an aggregation takes more than a few milliseconds: not on the loop."""


@dataclass(frozen=True)
class Entrants:
    """The different complete responses of a group, in order of appearance.

    Attributes:
        first_at: per entrant the index of its first copy.
        entrant_of: per response its entrant; None: it was not complete.
    """

    first_at: list[int]
    entrant_of: list[int | None]

    @classmethod
    def of(cls, item: GroupItem) -> Entrants:
        complete = item.complete or [True] * len(item.responses)
        seen: dict[str, int] = {}
        first_at: list[int] = []
        entrant_of: list[int | None] = []
        for index, (text, whole) in enumerate(zip(item.responses, complete, strict=True)):
            if not whole:
                entrant_of.append(None)
                continue
            if text not in seen:
                seen[text] = len(first_at)
                first_at.append(index)
            entrant_of.append(seen[text])
        return cls(first_at, entrant_of)


class Groups:
    """The way of `/v1/groups`."""

    def __init__(self, request: GroupsRequest) -> None:
        self._request = request

    def critiques(self, item: GroupItem) -> int:
        """Comparisons of a group; each takes K critiques."""
        entrants = len(Entrants.of(item).first_at)
        return number_of_games(entrants, self._request.comparisons, self._request.orders)

    def invalid(self, parsed: Parsed, error: str) -> GroupResult:
        return GroupResult(
            index=parsed.index,
            id=parsed.id,
            status="invalid",
            scores=[None] * parsed.responses,
            scores_from=[0] * parsed.responses,
            error=error,
        )

    async def serve(
        self, asker: Asker, index: int, id_: str | None, item: GroupItem
    ) -> GroupResult:
        entrants = Entrants.of(item)
        count, request = len(entrants.first_at), self._request
        games = schedule(count, request.comparisons, request.orders)
        comparisons = await _play(asker, item, entrants, games)
        played: dict[Game, Scores] = {
            game: one.scores
            for game, one in zip(games, comparisons, strict=True)
            if one.scores is not None
        }
        aggregate = AGGREGATIONS[request.aggregate]
        scores = (
            await asyncio.to_thread(aggregate, count, played, games)
            if len(games) > _LARGE
            else aggregate(count, played, games)
        )
        scores_from = comparisons_of(count, played)
        status, error = _overall(comparisons)
        agree = agreements(played)
        asker.service.metrics.quality.orders(agree)
        return GroupResult(
            index=index,
            id=id_,
            status=status,
            scores=[None if e is None else scores[e] for e in entrants.entrant_of],
            scores_from=[0 if e is None else scores_from[e] for e in entrants.entrant_of],
            comparisons=comparisons,
            order_consistency=sum(agree) / len(agree) if agree else None,
            error=error,
        )


async def _play(
    asker: Asker, item: GroupItem, entrants: Entrants, games: list[Game]
) -> list[Comparison]:
    """All comparisons at once, on pictures that are decoded once and held meanwhile.

    No comparison is sent ahead of its siblings to fill the caches. vLLM (0.32) registers the blocks
    of a prompt when it schedules them, not when they are computed, so siblings in the same step
    share them. Measured on a CPU with blocks of 32 tokens, 56 comparisons of 8 answers about a new
    picture: of 42,000 prompt tokens 8,300 were computed, and as many with a leader sent ahead, with
    a leader for every first answer, in any order of the list, and one by one, which took twice as
    long as all at once.
    """
    at = entrants.first_at

    async with AsyncExitStack() as held:
        media = await asker.attempt(lambda: held.enter_async_context(asker.media(item)))
        if isinstance(media, Failure):
            asker.ticket.release(len(games) * asker.accepted.critiques)
            for _ in games:
                count_comparison(asker, media)
            return [comparison(at[game.first], at[game.second], media) for game in games]

        async def play(game: Game) -> Comparison:
            first, second = at[game.first], at[game.second]
            texts = item.responses[first], item.responses[second]
            judged = await compare(asker, item, media, *texts, siblings=len(games))
            return comparison(first, second, judged)

        return await asyncio.gather(*map(play, games))


def _overall(comparisons: list[Comparison]) -> tuple[Status, str | None]:
    """Status and error of a group."""
    failed = [one for one in comparisons if one.status != "ok"]
    if not failed:
        return "ok", None
    first = failed[0]
    error = (
        f"{len(failed)} of {len(comparisons)} comparisons failed, the first of them "
        f"({first.first}, {first.second}): {first.status}: {first.error}"
    )
    return ("partial" if len(failed) < len(comparisons) else first.status), error
