"""/ready, /health and the start: loading, warm-up, parity with the golden scores."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from mmreward_service.app import create_app
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.settings import Settings
from service_kit import serving


async def test_ready_means_checked(client: httpx2.AsyncClient, engine: FakeEngine) -> None:
    """After the start the golden scores have been read and found right."""
    reply = await client.get("/ready")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ready", "model": "fake", "parity_error": 0.0}
    assert engine.finished >= 2
    metrics = (await client.get("/metrics")).text
    assert "mmreward_ready 1.0" in metrics
    assert "mmreward_parity_error 0.0" in metrics


async def test_while_loading_only_health_is_well(item: dict[str, Any]) -> None:
    """The port answers from the first moment; scores are 503 with Retry-After until ready."""
    async with serving(FakeEngine(start_s=30), wait=False) as client:
        assert (await client.get("/health")).json() == {"status": "alive"}
        for reply in (
            await client.get("/ready"),
            await client.get("/v1/models"),
            await client.post("/v1/score", json={"items": [item]}),
        ):
            assert reply.status_code == 503
            assert reply.json()["error"]["code"] == "not_ready"
            assert "loaded" in reply.json()["error"]["message"]
            assert int(reply.headers["Retry-After"]) >= 1
        assert "mmreward_ready 0.0" in (await client.get("/metrics")).text


async def test_golden_scores_that_differ_stop_everything(item: dict[str, Any]) -> None:
    """A build that scores differently than the trainer did serves no score at all."""
    async with serving(FakeEngine(drift=0.01)) as client:
        reply = await client.get("/ready")
        assert reply.status_code == 503
        assert "differ by 0.01" in reply.json()["error"]["message"]
        assert (await client.post("/v1/score", json={"items": [item]})).status_code == 503
        assert "mmreward_parity_error 0.01" in (await client.get("/metrics")).text
    async with serving(FakeEngine(drift=0.01), parity_tolerance=0.02) as client:
        assert (await client.get("/ready")).status_code == 200


async def test_golden_items_without_a_score_are_not_ready_but_honest(
    item: dict[str, Any],
) -> None:
    """A broken head: no balancer sends traffic here, and who asks all the same gets the status."""
    async with serving(FakeEngine(golden_marker="[[not_finite]]")) as client:
        reply = await client.get("/ready")
        assert reply.status_code == 503
        assert "not_finite" in reply.json()["error"]["message"]
        broken = {**item, "response": "[[not_finite]]"}
        reply = await client.post("/v1/score", json={"items": [broken]})
        assert reply.json()["data"][0]["status"] == "not_finite"


class _Unstartable(FakeEngine):
    async def start(self) -> None:
        raise RuntimeError("no memory for the KV cache")


async def test_a_start_that_fails_is_told_to_whoever_runs_the_server() -> None:
    """The process must end, not stand there unready for ever."""
    told = asyncio.Event()
    app = create_app(Settings(engine="fake"), _Unstartable(), on_start_failure=told.set)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://x") as client,
    ):
        async with asyncio.timeout(10):
            await told.wait()
        reply = await client.get("/ready")
    assert reply.status_code == 503
    assert "no memory for the KV cache" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/version", "/health"])
async def test_public_answers(client: httpx2.AsyncClient, path: str) -> None:
    """Probes need no key and no body."""
    assert (await client.get(path)).status_code == 200
