"""Responses to rewards: all that the adapters share, for event loops and for threads.

One object of each kind per process. Both clients open their own connections in a forked process
and in a new event loop, so a trainer may import an adapter before it forks, and may call it with
one `asyncio.run` after the other. What happens is logged under `mmreward_client.adapters`, without
prompts and responses.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from mmreward_client.adapters.adapter_settings import AdapterSettings, read_settings
from mmreward_client.aio import AsyncRewardClient
from mmreward_client.errors import InvalidInput, RewardError
from mmreward_client.events import Event, RetryPlanned
from mmreward_client.inputs import GroupInput, ScoreInput
from mmreward_client.schema import GroupResult, ScoreResult
from mmreward_client.sync import RewardClient

logger = logging.getLogger("mmreward_client.adapters")

T = TypeVar("T")


class NoReward(RewardError):
    """A response has no reward, and the trainer has no place for that: the run has to stop."""


class Rewarder:
    """Rewards for the tasks of one event loop at a time.

    Args:
        settings: those of the environment by default.
    """

    def __init__(self, settings: AdapterSettings | None = None) -> None:
        self.settings = settings or read_settings()
        self._client = AsyncRewardClient(on_event=log_event, **self.settings.client_options())

    async def score(self, item: ScoreInput) -> float:
        """The reward of one response by itself.

        Raises:
            NoReward: it has none.
            RewardError: the call as a whole failed.
        """
        _check_alone(self.settings)
        reply = await self._client.score([item], **self.settings.sampling())
        return reward_of(reply.data[0])

    async def group(self, group: GroupInput) -> list[float] | None:
        """The rewards of the responses to one prompt; None: the group is to be left out.

        Raises:
            NoReward: one of them has none, and leaving out was not asked for.
            RewardError: the call as a whole failed, also where leaving out was asked for: a
                service that is gone is no property of a group.
        """
        try:
            if self.settings.kind == "judge":
                return await self._compared(group)
            return await self._scored(group)
        except NoReward as error:
            if self.settings.on_failure == "stop":
                raise
            logger.warning("a group is left out: %s", error)
            return None

    async def groups(self, groups: Sequence[GroupInput]) -> list[list[float] | None]:
        """The rewards of several groups, side by side; the first failure ends the others."""
        return await all_or_none([self.group(group) for group in groups])

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _compared(self, group: GroupInput) -> list[float]:
        reply = await self._client.groups(
            [group],
            orders=self.settings.orders,
            comparisons=self.settings.comparisons,
            aggregate=self.settings.aggregate,
            **self.settings.sampling(),
        )
        return rewards_of(reply.data[0], accept_partial=self.settings.accept_partial)

    async def _scored(self, group: GroupInput) -> list[float]:
        items = [
            ScoreInput(group.prompt, response, group.images, group.video, mode=self.settings.mode)
            for response in group.responses
        ]
        reply = await self._client.score(items, **self.settings.sampling())
        return [reward_of(result) for result in reply.data]


class BlockingRewarder:
    """Rewards for ordinary functions, from any thread."""

    def __init__(self, settings: AdapterSettings | None = None) -> None:
        self.settings = settings or read_settings()
        self._client = RewardClient(on_event=log_event, **self.settings.client_options())

    def scores(self, items: Sequence[ScoreInput]) -> list[float]:
        """The reward of each response by itself, in their order.

        Raises:
            NoReward: one of them has none.
            RewardError: the call as a whole failed.
        """
        _check_alone(self.settings)
        reply = self._client.score(items, **self.settings.sampling())
        return [reward_of(result) for result in reply.data]

    def close(self) -> None:
        self._client.close()


@functools.cache
def rewarder() -> Rewarder:
    """The one of this process, by the environment at the first call."""
    return Rewarder()


@functools.cache
def blocking_rewarder() -> BlockingRewarder:
    """The one of this process, by the environment at the first call."""
    return BlockingRewarder()


def reward_of(result: ScoreResult) -> float:
    """Raises NoReward where there is no score."""
    if result.score is None:
        raise NoReward(f"response {result.index} has no score: {result.status}: {result.error}")
    return result.score


def rewards_of(result: GroupResult, *, accept_partial: bool) -> list[float]:
    """Raises NoReward unless each response has its score, and, if asked for, each comparison."""
    if result.status != "ok" and not (result.status == "partial" and accept_partial):
        failed = [one.status for one in result.comparisons if one.status != "ok"]
        said = result.error or f"{len(failed)} comparisons failed: {', '.join(sorted(set(failed)))}"
        raise NoReward(f"the group has no scores: {result.status}: {said}")
    scores = [score for score in result.scores if score is not None]
    if len(scores) != len(result.scores):
        raise NoReward(f"{len(result.scores) - len(scores)} of the group have no good comparison")
    return scores


async def all_or_none(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first exception, once the other calls have been ended."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def log_event(event: Event) -> None:
    """Retries into the log: a run that waits for its reward should say so."""
    if isinstance(event, RetryPlanned):
        logger.warning(
            "%s: attempt %d failed, another in %.1f s: %s",
            event.path,
            event.number,
            event.wait_s,
            event.error,
        )


def _check_alone(settings: AdapterSettings) -> None:
    if settings.needs_groups:
        raise InvalidInput(
            f"MMREWARD_KIND={settings.kind} with MMREWARD_ON_FAILURE={settings.on_failure} needs "
            "whole groups, and this function sees one response at a time"
        )
