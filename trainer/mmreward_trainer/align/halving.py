"""A request that the service refuses as too large goes in halves: pictures are what is large."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from mmreward_client import TooLarge

ResultT = TypeVar("ResultT")
Items = Sequence[dict[str, Any]]


async def in_halves(
    items: Items,
    ask: Callable[[Items], Awaitable[list[ResultT]]],
    alone: Callable[[TooLarge], ResultT],
) -> list[ResultT]:
    """One result for each item, in order.

    Args:
        ask: about some of them, in one request.
        alone: the result of an item that is too large by itself; or raises the error.
    """
    try:
        return await ask(items)
    except TooLarge as error:
        if len(items) == 1:
            return [alone(error)]
        half = len(items) // 2
        first = await in_halves(items[:half], ask, alone)
        return [*first, *await in_halves(items[half:], ask, alone)]
