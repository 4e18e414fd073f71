"""Over real sockets: a caller who hangs up takes his work out of the engine; draining waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from mmreward_service.engine.fake import FakeEngine
from service_kit import KEY, listening, picture_uri

SLOW = {"prompt": "p", "response": "[[slow]]"}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def send(url: str, body: dict[str, Any], accept: str = "*/*") -> asyncio.StreamWriter:
    """Send a scoring request by hand and leave the connection open."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/score HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()
    return writer


@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson"])
async def test_hanging_up_aborts_every_request_in_the_engine(
    engine: FakeEngine, accept: str
) -> None:
    """Closing the connection cancels all items, gives the permits back and is counted as such."""
    async with listening(engine, max_in_flight=3) as url, httpx2.AsyncClient(base_url=url) as other:
        finished = engine.finished
        writer = await send(url, {"items": [SLOW] * 3}, accept)
        await until(lambda: engine.running == 3)
        writer.close()
        await until(lambda: engine.running == 0)
        assert (engine.aborted, engine.finished) == (3, finished)
        quick = {"items": [{"prompt": "p", "response": "r"}] * 3}
        assert (await other.post("/v1/score", json=quick)).status_code == 200
        metrics = (await other.get("/metrics")).text
        assert 'mmreward_requests_total{outcome="cancelled",route="/v1/score"} 1.0' in metrics


async def test_hanging_up_during_the_upload_leaves_nothing_behind(engine: FakeEngine) -> None:
    """Half a body is nobody's request."""
    async with listening(engine) as url, httpx2.AsyncClient(base_url=url) as other:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
        writer.write(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

        async def cancelled() -> bool:
            text = (await other.get("/metrics")).text
            return 'requests_total{outcome="cancelled",route="/v1/score"} 1.0' in text

        async with asyncio.timeout(20):
            while not await cancelled():  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_body_over_the_limit_is_refused_on_the_wire() -> None:
    """By its Content-Length before a byte of it is read, and by counting without one."""
    async with (
        listening(max_body_bytes=100_000) as url,
        httpx2.AsyncClient(base_url=url) as client,
    ):
        reply = await client.post("/v1/score", content=b" " * 100_001)
        assert reply.status_code == 413
        assert reply.json()["error"]["code"] == "max_body_bytes"

        async def chunks() -> Any:
            for _ in range(200):
                yield b" " * 1000

        reply = await client.post("/v1/score", content=chunks())
        assert reply.status_code == 413
        # Exactly at the limit it is read, and found not to be JSON.
        assert (await client.post("/v1/score", content=b" " * 100_000)).status_code == 400


async def test_stopping_waits_for_what_is_running() -> None:
    """A request that is being served when the service stops still gets its scores."""
    engine = FakeEngine(seconds_per_token=0.02)
    async with httpx2.AsyncClient() as client:
        async with listening(engine, drain_s=20) as url:
            body = {"items": [{"prompt": "p", "response": "r"}]}
            pending = asyncio.create_task(client.post(url + "/v1/score", json=body))
            await until(lambda: engine.running == 1)
        reply = await pending
    assert reply.json()["data"][0]["status"] == "ok"


async def test_many_connections_at_once_with_pictures_and_keys(engine: FakeEngine) -> None:
    """Forty connections, each with its own picture: everyone gets the score of his own."""
    async with (
        listening(engine, api_keys=(KEY,)) as url,
        httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        bodies = [
            {"items": [{"images": [picture_uri((300, 300), n)], "prompt": "p", "response": "r"}]}
            for n in range(40)
        ]
        first = await asyncio.gather(*(client.post("/v1/score", json=body) for body in bodies))
        again = await asyncio.gather(*(client.post("/v1/score", json=body) for body in bodies))
        scores = [reply.json()["data"][0]["score"] for reply in first]
        assert len(set(scores)) == 40
        assert [reply.json()["data"][0]["score"] for reply in again] == scores
