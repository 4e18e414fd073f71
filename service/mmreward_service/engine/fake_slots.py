"""A bounded number of places in the fake engine, handed out as vLLM's priority policy does."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """`count` places; whoever waits with the lowest priority number is next, then who came first.

    None: places for everybody.
    """

    def __init__(self, count: int | None) -> None:
        self._free = count
        self._arrivals = itertools.count()
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, priority: int) -> AsyncIterator[None]:
        if self._free is None:
            yield
            return
        await self._take(priority)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, priority: int) -> None:
        assert self._free is not None
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (priority, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()  # its turn had come in the same instant
            raise

    def _give_back(self) -> None:
        assert self._free is not None
        while self._line:
            turn = heapq.heappop(self._line)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
