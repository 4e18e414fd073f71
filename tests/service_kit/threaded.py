"""The real service on its fake engine, in a thread of its own, for tests that are not async."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmreward_service.engine.fake import FakeEngine

from service_kit.apps import listening


@contextmanager
def running(engine: FakeEngine, **settings: Any) -> Iterator[str]:
    """The address of a service on this engine, with these settings."""
    address: queue.Queue[str] = queue.Queue()
    stop = threading.Event()

    async def serve() -> None:
        async with listening(engine, **settings) as url:
            address.put(url)
            while not stop.is_set():  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield address.get(timeout=60)
    finally:
        stop.set()
        thread.join()
