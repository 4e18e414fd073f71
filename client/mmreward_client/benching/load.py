"""Sends a load to a service, and notes what became of every request.

The client does not try again here: a request that is turned away is a finding.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmreward_client.benching.arrivals import Load, due_times
from mmreward_client.errors import ApiError, RewardError
from mmreward_client.schema import GroupsReply, PairsReply, ScoreReply, Timings, Usage

Reply = ScoreReply | PairsReply | GroupsReply
Ask = Callable[[list[dict[str, Any]]], Awaitable[Reply]]


@dataclass(frozen=True)
class Sample:
    """What became of one request.

    Attributes:
        due_s: when it was to be sent, in seconds since the load began.
        seconds: from then to its parsed reply, or to its failure.
        error: why it has no reply: the service's code or the kind of the error; None: it has one.
        statuses: of its items; empty where there is no reply.
        usage, timings: as the service told them.
    """

    due_s: float
    seconds: float
    error: str | None = None
    statuses: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)


async def run_load(
    ask: Ask,
    batches: Iterator[list[dict[str, Any]]],
    load: Load,
    note: Callable[[Sample], None],
) -> None:
    """Send all of a load and wait for every answer; cancelled, it leaves what is under way.

    Args:
        ask: sends a batch of items as one request.
        note: told of every request as soon as it has ended, in order of ending.

    Raises:
        Exception: what `ask` raises that is no `RewardError`.
    """
    free = None if load.concurrency is None else asyncio.Semaphore(load.concurrency)
    begun = time.monotonic()

    async def one(due: float, items: list[dict[str, Any]]) -> None:
        try:
            note(await _sample(ask, items, due, begun))
        finally:
            if free is not None:
                free.release()

    async with asyncio.TaskGroup() as requests:
        async for due in due_times(load, free):
            requests.create_task(one(due, next(batches)))


async def _sample(ask: Ask, items: list[dict[str, Any]], due: float, begun: float) -> Sample:
    try:
        reply = await ask(items)
    except RewardError as error:
        return Sample(due - begun, time.monotonic() - due, error=_name(error))
    return Sample(
        due - begun,
        time.monotonic() - due,
        statuses=tuple(result.status for result in reply.data),
        usage=reply.usage,
        timings=reply.timings,
    )


def _name(error: RewardError) -> str:
    code = error.code if isinstance(error, ApiError) else None
    return code or type(error).__name__
