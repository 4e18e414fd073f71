"""Rewards from comparing the completions of a prompt with each other; see `rewards`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from mmreward_client import GroupsReply, TooLarge
from mmreward_client.exchange import Opponents
from mmreward_client.schema import Aggregate, GroupResult, Orders

from mmreward_trainer.align.grouped.figures import Outcome, Reason
from mmreward_trainer.align.grouped.gathering import (
    PeerFailed,
    Ranks,
    parts,
    refuse_split,
    whole_groups,
)
from mmreward_trainer.align.grouped.reading import Completion
from mmreward_trainer.align.grouped.service_reward import Read, ServiceReward

_WAIT_FOR_PEERS_S = 1800.0
"""How much later than the first the last process may have written its completions."""


class GroupedReward(ServiceReward):
    """Rewards from comparing the completions of each prompt with each other: `POST /v1/groups`.

    Args:
        num_generations: completions of each prompt, as in `GRPOConfig`.
        split: what to do where TRL deals out the completions of one prompt to several processes:
            `gather` puts the group together first, `refuse` raises.
        partial: a group some of whose comparisons failed: `keep` the scores that there are, or
            `drop` them all, so that scores of one group always rest on the same comparisons.
        orders, comparisons, aggregate: of the request, see `AsyncRewardClient.groups`.
        critiques: judgements of each comparison.
        others: as `ServiceReward`.
    """

    __name__ = "grouped_reward"

    def __init__(
        self,
        url: str | None = None,
        *,
        num_generations: int,
        split: Literal["gather", "refuse"] = "gather",
        partial: Literal["keep", "drop"] = "keep",
        orders: Orders = "both",
        comparisons: Opponents = "all",
        aggregate: Aggregate = "mean",
        critiques: int = 1,
        **others: Any,
    ) -> None:
        if num_generations < 2:
            raise ValueError("num_generations: a comparison needs two completions")
        if split not in ("gather", "refuse") or partial not in ("keep", "drop"):
            raise ValueError("split is gather or refuse, partial is keep or drop")
        super().__init__(url, **others)
        self._size = num_generations
        self._split = split
        self._partial = partial
        self._options: dict[str, Any] = {
            "orders": orders,
            "comparisons": comparisons,
            "aggregate": aggregate,
            "critiques": critiques,
            "model": self._model,
        }
        self._ranks = Ranks(self._caller.timeout_s + _WAIT_FOR_PEERS_S)

    async def _outcomes(
        self, read: Read, count: int
    ) -> tuple[list[Completion], list[Outcome], list[float]]:
        processes = self._ranks.count
        # TRL deals out equal numbers, so that all processes come to the same conclusion.
        if processes == 1 or count % self._size == 0:
            rows = read()
            groups = whole_groups([row.key for row in rows], self._size)
            found, consistencies = await self._judge([[rows[i] for i in one] for one in groups])
            return rows, [one for group in found for one in group], consistencies
        if self._split == "refuse":
            refuse_split(count, self._size, processes)
        self._ranks.join()
        return await self._judged_together(read)

    async def _judged_together(
        self, read: Read
    ) -> tuple[list[Completion], list[Outcome], list[float]]:
        """Groups that lie on several processes; an error of one is an error of all."""
        rows, told = await self._told(read)
        everybody = [one for sent in told for one in sent]
        groups = whole_groups([key for key, *_ in everybody], self._size, len(told))
        counts = [len(sent) for sent in told]
        start = sum(counts[: self._ranks.own])
        mine = [part.places for part in parts(groups, counts, self._ranks.own) if part.is_mine]
        asked = [
            [_completed(rows[places[0] - start], *everybody[place]) for place in places]
            for places in mine
        ]

        async def judge() -> dict[str, Any]:
            found, consistencies = await self._judge(asked)
            return {
                "outcomes": {
                    place: (one.reward, one.reason)
                    for places, group in zip(mine, found, strict=True)
                    for place, one in zip(places, group, strict=True)
                },
                "consistencies": consistencies,
            }

        replies = await self._shared(judge)
        # JSON made texts of the places.
        outcomes = {
            int(i): Outcome(*one) for part in replies for i, one in part["outcomes"].items()
        }
        own = [outcomes[start + i] for i in range(len(rows))]
        return rows, own, replies[self._ranks.own]["consistencies"]

    async def _told(self, read: Read) -> tuple[list[Completion], list[list[Any]]]:
        """The own completions, and of all processes what the others have to know of theirs."""
        rows: list[Completion] = []

        async def tell() -> list[Any]:
            rows.extend(read())
            return [(row.key, row.response, row.is_complete) for row in rows]

        return rows, await self._shared(tell)

    async def _shared(self, work: Callable[[], Awaitable[Any]]) -> list[Any]:
        """What the work gave on every process.

        Raises:
            PeerFailed: it failed on another process; on its own that process raises the error.
        """
        error: Exception | None = None
        value: Any = None
        try:
            value = await work()
        except Exception as one:  # the others must hear of it before it goes on
            error = one
        said = None if error is None else f"{type(error).__name__}: {error}"
        found = await self._ranks.gather([said, value])
        if error is not None:
            raise error
        failed = [f"process {rank}: {one[0]}" for rank, one in enumerate(found) if one[0]]
        if failed:
            raise PeerFailed("; ".join(failed))
        return [one[1] for one in found]

    async def _judge(
        self, groups: list[list[Completion]]
    ) -> tuple[list[list[Outcome]], list[float]]:
        """An outcome for each completion, and the order consistencies that could be had."""
        asked = [i for i, group in enumerate(groups) if sum(row.is_complete for row in group) > 1]
        calls = [self._call(groups[i]) for i in asked]
        replies = await self._caller.ask_all(calls, lambda reply: reply == "too_large")
        found: list[list[Outcome]] = [[self._alone(row) for row in group] for group in groups]
        consistencies = []
        for i, reply in zip(asked, replies, strict=True):
            if reply is None or reply == "too_large":
                reason: Reason = "call"
                if reply is not None:
                    reason = "item"
                    self.counts["status/too_large"] += 1
                found[i] = [
                    Outcome(None, reason) if row.is_complete else self._cut() for row in groups[i]
                ]
                continue
            result = reply.data[0]
            self.counts[f"status/{result.status}"] += 1
            if result.order_consistency is not None:
                consistencies.append(result.order_consistency)
            found[i] = self._of_group(groups[i], result)
        return found, consistencies

    def _call(
        self, group: list[Completion]
    ) -> Callable[[float], Awaitable[GroupsReply | Literal["too_large"]]]:
        first = group[0]
        item = {
            "images": list(first.images),
            "prompt": first.prompt,
            "responses": [row.response for row in group],
            "complete": [row.is_complete for row in group],
        }

        async def ask(left_s: float) -> GroupsReply | Literal["too_large"]:
            try:
                return await self.client.groups([item], timeout_s=left_s, **self._options)
            except TooLarge as error:  # a group cannot go in halves
                if self._caller.stops or error.is_by_number:
                    raise
                return "too_large"

        return ask

    def _of_group(self, group: list[Completion], result: GroupResult) -> list[Outcome]:
        # The client believes a reply only with one score per response.
        lacks: Reason = "comparisons" if result.status == "partial" else "item"
        is_dropped = self._partial == "drop" and result.status != "ok"
        return [
            self._cut() if not row.is_complete
            else Outcome(None, lacks) if is_dropped or score is None
            else Outcome(score, None)
            for row, score in zip(group, result.scores, strict=True)
        ]  # fmt: skip

    def _alone(self, row: Completion) -> Outcome:
        return Outcome(None, "alone") if row.is_complete else self._cut()


def _completed(own: Completion, key: str, response: str, is_complete: bool) -> Completion:
    """A completion of another process, with the pictures that this one has."""
    return Completion(own.prompt, own.images, response, is_complete, 0, None, key)
