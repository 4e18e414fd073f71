"""An engine that hangs: /ready says so while the process and its health are well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.engine.vllm import engine as vllm_engine
from prometheus_client import CollectorRegistry, Counter
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


async def test_deadlines_one_at_a_time_do_not_hide_a_stall(item: dict[str, Any]) -> None:
    """A trainer asks, waits for its deadline, asks again: the engine is idle in between."""
    engine = HangingEngine()
    async with serving(engine, stall_after_s=0.4) as client:
        engine.flows.clear()
        body = {"items": [item], "deadline_ms": 250}
        for _ in range(2):
            await client.post("/v1/score", json=body)
            assert (await client.get("/ready")).status_code == 200  # nothing is known
        asked = asyncio.create_task(client.post("/v1/score", json=body))
        await asyncio.sleep(0.1)
        assert (await client.get("/ready")).status_code == 503
        await asked
        engine.flows.set()
        await client.post("/v1/score", json=body)
        asked = asyncio.create_task(
            client.post("/v1/score", json={"items": [{**item, "response": "[[slow]]"}]})
        )
        await asyncio.sleep(0.1)
        assert (await client.get("/ready")).status_code == 200
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def test_long_critiques_that_all_began_at_once_are_no_stall(item: dict[str, Any]) -> None:
    """Nothing is answered for long, but tokens are computed; when they stop, it is one."""
    engine = FakeEngine()
    slow = {**item, "response": "[[slow]]"}
    async with serving(engine, stall_after_s=0.3) as client:
        asked = asyncio.create_task(client.post("/v1/score", json={"items": [slow] * 4}))
        for _ in range(12):
            await asyncio.sleep(0.05)
            engine.tokens_done += 4
            assert (await client.get("/ready")).status_code == 200
        assert not asked.done()
        await _until(client, 503)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


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


def test_tokens_of_vllm_are_read_where_it_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are those of the pinned release; all engines of the process are added up."""
    listed = Path(__file__).parents[2] / "monitoring" / "vllm_metrics.txt"
    assert set(vllm_engine._TOKENS) <= set(listed.read_text().split())
    registry = CollectorRegistry()
    monkeypatch.setattr(vllm_engine, "REGISTRY", registry)
    tokens_done = vllm_engine.VllmEngine.tokens_done.fget
    assert tokens_done is not None
    # Before the engine has started, or with its statistics switched off: nothing is known.
    assert tokens_done(None) == 0
    for name in ("vllm:prompt_tokens", "vllm:generation_tokens", "vllm:request_success"):
        counter = Counter(name, "As in vLLM.", ["engine"], registry=registry)
        counter.labels("0").inc(3)
        counter.labels("1").inc(4)
    assert tokens_done(None) == 14


async def _gauge(client: httpx2.AsyncClient, name: str) -> float:
    return value_in(await samples(client))(name)


async def _until(client: httpx2.AsyncClient, status: int) -> None:
    async with asyncio.timeout(30):
        while (await client.get("/ready")).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
