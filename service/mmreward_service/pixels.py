"""How many decoded pixels may be in memory at once, over all requests.

A file of a hundred kilobytes can decode to a hundred megabytes, so neither the body limit nor the
number of items bounds the memory. Each item takes the pixels of all its pictures in one step before
any of them is decoded, and waits in line if they are not to be had: no item ever holds some and
waits for more, so the line always moves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PixelBudget:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Hold this many pixels, at most `limit`, first come first served."""
        if pixels == 0:  # a text must not wait behind pictures
            yield
            return
        await self._take(pixels)
        try:
            yield
        finally:
            self._give_back(pixels)

    async def _take(self, pixels: int) -> None:
        if not self._line and self.held + pixels <= self.limit:
            self.held += pixels
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (pixels, turn)
        self._line.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_back(pixels)  # its turn had come in the same instant
            elif entry in self._line:
                self._line.remove(entry)
                self._serve()
            raise

    def _give_back(self, pixels: int) -> None:
        self.held -= pixels
        self._serve()

    def _serve(self) -> None:
        while self._line:
            pixels, turn = self._line[0]
            if turn.cancelled():  # its task has not yet run to take it out of the line
                self._line.popleft()
                continue
            if self.held + pixels > self.limit:
                return
            self._line.popleft()
            self.held += pixels
            turn.set_result(None)
