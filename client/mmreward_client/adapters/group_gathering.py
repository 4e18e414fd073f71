"""Whole groups where a trainer hands out their responses one by one.

The responses to a prompt arrive as tasks of one event loop, in any order. Each waits here until
all of its group are there; then one call rewards them together. A group that stays incomplete is an
error for all who wait for it, never a comparison of a part. Nothing crosses processes: a trainer
that spreads a group over several has to be refused by its adapter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field

from mmreward_client.adapters.conversation import Question
from mmreward_client.adapters.rewarding import NoReward, Rewarder
from mmreward_client.inputs import GroupInput


@dataclass
class _Group:
    """A group that is not complete yet.

    Attributes:
        complete: the call that rewards all of them, once they are there.
        giving_up: the end of its time; it holds the group, pictures and all, until it is cancelled.
    """

    question: Question
    complete: asyncio.Future[asyncio.Task[list[float] | None]]
    giving_up: asyncio.TimerHandle | None = None
    responses: list[str] = field(default_factory=list)


class GroupGathering:
    """Puts groups together.

    Args:
        size: responses of a group, at least two.
    """

    def __init__(self, rewarder: Rewarder, size: int) -> None:
        self._rewarder = rewarder
        self._size = size
        self._waiting: dict[Hashable, _Group] = {}

    async def reward(self, key: Hashable, question: Question, response: str) -> float | None:
        """The reward of a response among its group; None: the group is left out.

        Args:
            key: of the group; equal for its members alone.
            question: that of the group; the first member's counts.

        Raises:
            NoReward: the group stayed incomplete, or has no rewards.
            RewardError: the call failed.
        """
        group = self._waiting.get(key)
        if group is None:
            group = _Group(question, asyncio.get_running_loop().create_future())
            self._waiting[key] = group
            group.giving_up = self._give_up_later(key, group)
        place = len(group.responses)
        group.responses.append(response)
        if len(group.responses) == self._size:
            # From here on equal keys begin the next group.
            del self._waiting[key]
            if group.giving_up is not None:
                group.giving_up.cancel()
            asked = GroupInput(responses=group.responses, **group.question.fields())
            group.complete.set_result(asyncio.create_task(self._rewarder.group(asked)))
        # Shielded: one of them that is cancelled must not take the others' answer along.
        call = await asyncio.shield(group.complete)
        rewards = await asyncio.shield(call)
        return None if rewards is None else rewards[place]

    def _give_up_later(self, key: Hashable, group: _Group) -> asyncio.TimerHandle:
        timeout_s = self._rewarder.settings.gather_timeout_s

        def give_up() -> None:
            if self._waiting.get(key) is group:
                del self._waiting[key]
                said = f"{len(group.responses)} of {self._size} responses of a group arrived"
                group.complete.set_exception(
                    NoReward(f"{said} within MMREWARD_GATHER_TIMEOUT_S={timeout_s:g}")
                )

        return asyncio.get_running_loop().call_later(timeout_s, give_up)
