"""An event loop in a thread of the training process, for requests that nobody waits for yet.

A thread and not a process: what is asked and answered is small, the work is waiting. One loop and
not a pool of threads: requests that are not needed any more can be cancelled, so that a run that
ends, ends. A forked data loader worker has no such thread; nothing here is used there.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_CLOSE_S = 5.0

AnswerT = TypeVar("AnswerT")


class BackgroundLoop:
    """Starts with the first `begin`, ends with `close` or with the process.

    Args:
        at_end: the last that is run on it.
    """

    def __init__(self, at_end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._at_end = at_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def begin(self, work: Coroutine[Any, Any, AnswerT]) -> Future[AnswerT]:
        """Run this beside the caller."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=self._loop.run_forever, name="live margins", daemon=True
            )
            thread.start()
            # Also at the end of the process: a thread that dies inside of a request is noisy.
            self._end = weakref.finalize(self, _stop, self._loop, thread, self._at_end)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what is under way, and end the thread; the next `begin` starts another one."""
        if self._end is not None:
            self._end()
        self._loop = self._end = None


def _stop(
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    at_end: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await at_end()

    with contextlib.suppress(TimeoutError, RuntimeError):
        asyncio.run_coroutine_threadsafe(cancel(), loop).result(_CLOSE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_CLOSE_S)
    if not thread.is_alive():
        loop.close()
