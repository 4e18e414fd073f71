"""Services over one engine in one process, alike but for what they record.

    twins.py FOLDER|fake DTYPE recording silent silent

The first line of stdout is a JSON list of their ports; they end when stdin is closed. One engine,
because two would have caches, threads and places in memory of their own, and differ by more than
what is to be measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

MAX_IN_FLIGHT = 1024


class Shared:
    """An engine that several apps start and close: the first and the last of them do."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._starting: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def start(self) -> None:
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._engine.start())
        await asyncio.shield(self._starting)

    async def close(self) -> None:
        """By whoever made it."""


class Silent:
    """Stands for a part of the metrics and records nothing."""

    def __getattr__(self, name: str) -> Any:
        return _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None


def make_metrics(kind: str) -> Any:
    """The service's own metrics, or the same without anything that is done for each request.

    The gauges stay: they are read when the page is asked for, and cost a request nothing.
    """
    from mmreward_service.metrics import Metrics

    metrics = Metrics(MAX_IN_FLIGHT)
    if kind == "silent":
        metrics.traffic = metrics.quality = metrics.pictures = Silent()  # type: ignore[assignment]
    return metrics


@contextlib.asynccontextmanager
async def listening(engine: Any, kind: str) -> AsyncIterator[int]:
    """The port of one service, ready; settings are the usual ones."""
    import uvicorn
    from mmreward_service.app import create_app
    from mmreward_service.settings import Settings

    settings = Settings(engine="fake", max_in_flight=MAX_IN_FLIGHT)
    app = create_app(settings, engine, metrics=make_metrics(kind))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    running = asyncio.create_task(server._serve())  # serve() would take over the signals
    try:
        readiness = app.state.service.readiness
        while not server.started or str(readiness.reason).startswith("the model is"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        if readiness.reason is not None:
            raise RuntimeError(readiness.reason)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def serve(checkpoint: str, dtype: str, kinds: list[str], replies: Any) -> None:
    from http_parts.bare import build

    engine = Shared(build(checkpoint, dtype))
    try:
        async with contextlib.AsyncExitStack() as stack:
            ports = [await stack.enter_async_context(listening(engine, kind)) for kind in kinds]
            print(json.dumps(ports), file=replies, flush=True)
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await engine._engine.close()


def main() -> None:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # What vLLM prints, its children too, goes to stderr: stdout is for the ports alone.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    checkpoint, dtype, *kinds = sys.argv[1:]
    asyncio.run(serve(checkpoint, dtype, kinds, replies))


if __name__ == "__main__":
    main()
