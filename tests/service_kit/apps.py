"""The app over the fake engine: in process through ASGI, or behind uvicorn on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from mmreward_service.app import create_app
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.engine.protocol import Engine
from mmreward_service.settings import Settings

KEY = "a-key-of-the-tests"


@asynccontextmanager
async def serving(
    engine: Engine | None = None, *, wait: bool = True, **settings: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the app, in process; `wait` until the start is over, ready or not."""
    app = create_app(Settings(**{"engine": "fake", **settings}), engine or FakeEngine())
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        if wait:
            await _started(app)
        yield client


@asynccontextmanager
async def listening(
    engine: Engine | None = None, *, drain_s: int = 5, **settings: Any
) -> AsyncIterator[str]:
    """The address of the app behind uvicorn, on a free port of this machine."""
    app = create_app(Settings(**{"engine": "fake", **settings}), engine or FakeEngine())
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=drain_s,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())  # serve() would take over the signals
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        await _started(app)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


async def _started(app: FastAPI) -> None:
    readiness = app.state.service.readiness
    while str(readiness.reason).startswith("the model is"):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
