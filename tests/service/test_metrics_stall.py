"""An engine that hangs: /ready says so while the process and its health are well."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from mmreward_service.engine.fake import FakeEngine
from service_kit import serving
from service_kit.scraping import samples, value_in


class HangingEngine(FakeEngine):
    """Takes questions and answers none until `flows` is set again."""

    def __init__(self) -> None:
        super().__init__()
        self.flows = asyncio.Event()
        self.flows.set()

    async def _work(self, tokens: int, markers: str, priority: int) -> None:
        await self.flows.wait()
        await super()._work(tokens, markers, priority)


async def test_a_stuck_engine_is_not_ready_until_it_answers_again(item: dict[str, Any]) -> None:
    """The process is healthy and so is the engine's own check: only the silence tells."""
    engine = HangingEngine()
    async with serving(engine, stall_after_s=0.3) as client:
        assert (await client.get("/ready")).status_code == 200
        last = await _gauge(client, "mmreward_last_completion_timestamp_seconds")
        engine.flows.clear()
        asked = asyncio.create_task(client.post("/v1/score", json={"items": [item]}))
        await _until(client, 503)
        reply = await client.get("/ready")
        assert reply.json()["error"]["code"] == "engine_stalled"
        assert "Retry-After" in reply.headers
        assert (await client.get("/health")).status_code == 200
        await engine.check()
        assert await _gauge(client, "mmreward_ready") == 0
        assert await _gauge(client, "mmreward_engine_silence_seconds") > 0.3
        assert await _gauge(client, "mmreward_last_completion_timestamp_seconds") == last
        engine.flows.set()
        assert (await asked).json()["data"][0]["status"] == "ok"
        assert (await client.get("/ready")).status_code == 200
        assert await _gauge(client, "mmreward_ready") == 1
        assert await _gauge(client, "mmreward_engine_silence_seconds") == 0
        assert await _gauge(client, "mmreward_last_completion_timestamp_seconds") > last


async def test_requests_that_time_out_one_after_another_do_not_hide_a_stall(
    item: dict[str, Any],
) -> None:
    """No single request waits for long, and still nothing has been answered."""
    engine = HangingEngine()
    async with serving(engine, stall_after_s=0.4) as client:
        engine.flows.clear()
        body = {"items": [item], "deadline_ms": 300}
        asked = []
        for _ in range(4):  # each begins before the one before it has ended
            asked.append(asyncio.create_task(client.post("/v1/score", json=body)))
            await asyncio.sleep(0.15)
        assert (await client.get("/ready")).status_code == 503
        replies = await asyncio.gather(*asked)
        assert {reply.json()["data"][0]["status"] for reply in replies} == {"deadline"}


async def test_an_idle_engine_and_one_that_answers_are_no_stall(item: dict[str, Any]) -> None:
    """Hours without requests say nothing; nor does one long question beside quick ones."""
    engine = FakeEngine()
    async with serving(engine, stall_after_s=0.2) as client:
        await asyncio.sleep(0.3)
        assert (await client.get("/ready")).status_code == 200
        slow = {**item, "response": "[[slow]]"}
        asked = asyncio.create_task(client.post("/v1/score", json={"items": [slow]}))
        for _ in range(8):
            await asyncio.sleep(0.05)
            await client.post("/v1/score", json={"items": [item]})
            assert (await client.get("/ready")).status_code == 200
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def _gauge(client: httpx2.AsyncClient, name: str) -> float:
    return value_in(await samples(client))(name)


async def _until(client: httpx2.AsyncClient, status: int) -> None:
    async with asyncio.timeout(30):
        while (await client.get("/ready")).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
