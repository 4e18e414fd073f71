"""/metrics: requests, saturation, keys and names; labels stay bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.errors import InternalError
from mmreward_service.metrics import Metrics, service_levels
from mmreward_service.middleware import RequestContext
from prometheus_client.parser import text_string_to_metric_families
from service_kit import KEY, serving
from service_kit.scraping import gain, samples, value_in
from starlette.types import Message, Receive, Scope, Send


async def test_requests_and_items_are_counted_by_outcome(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """One ok request with three items, one refused one."""
    before = await samples(client)
    truncated = {**item, "response": "[[truncated]]"}
    await client.post("/v1/score", json={"items": [item, truncated, 1]})
    await client.post("/v1/score", content=b"{")
    after = await samples(client)

    gained = gain(before, after)
    route = "/v1/score"
    assert gained("mmreward_requests_total", route=route, outcome="ok") == 1
    assert gained("mmreward_requests_total", route=route, outcome="invalid") == 1
    assert gained("mmreward_request_duration_seconds_count", route=route) == 2
    for status in ("ok", "truncated", "invalid"):
        assert gained("mmreward_items_total", model="fake", status=status) == 1
    assert gained("mmreward_items_total", model="fake", status="internal") == 0
    for stage in ("queue", "decode", "prompt", "engine", "parse"):
        assert gained("mmreward_stage_duration_seconds_count", stage=stage) == 1


@pytest.mark.parametrize(("deadline_ms", "outcome"), [(None, "error"), (1, "deadline")])
async def test_a_stream_that_serves_nothing_is_no_success(
    item: dict[str, Any], deadline_ms: int | None, outcome: str
) -> None:
    """Its 200 was out before: what counts is what the same request comes to without a stream."""
    body = {"items": [{**item, "response": "[[dead]]"}], "deadline_ms": deadline_ms}
    for accept in ("application/json", "application/x-ndjson"):
        # One picture has room, and another request holds it: no item reaches the engine in time.
        async with serving(FakeEngine(), max_pixels_in_flight=28 * 28) as client:
            slow = {**item, "response": "[[slow]]"}
            holder = asyncio.create_task(client.post("/v1/score", json={"items": [slow]}))
            if deadline_ms is None:
                holder.cancel()
            await asyncio.sleep(0.1)
            before = await samples(client)
            await client.post("/v1/score", json=body, headers={"Accept": accept})
            gained = gain(before, await samples(client))
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)
        assert gained("mmreward_requests_total", route="/v1/score", outcome=outcome) == 1, accept
        assert gained("mmreward_requests_total", route="/v1/score", outcome="ok") == 0, accept


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    """A fault after the first byte: the connection is broken, and the status was 200."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    async def nowhere(message: Message) -> None:
        pass

    async def nothing() -> Message:
        return {"type": "http.request"}

    metrics = Metrics(1)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(InternalError):
        await RequestContext(broken, metrics)(scope, nothing, nowhere)
    value = metrics.registry.get_sample_value
    labels = {"route": "unmatched"}
    assert value("mmreward_requests_total", labels | {"outcome": "error"}) == 1
    assert value("mmreward_requests_total", labels | {"outcome": "ok"}) is None


async def test_series_exist_before_anything_happens(client: httpx2.AsyncClient) -> None:
    """A ratio or an alert must not be blind until the first failure."""
    names = await samples(client)
    for route in ("/v1/score", "/v1/pairs", "/v1/groups", "/get_reward", "/v1/models", "/ready"):
        for outcome in ("ok", "invalid", "overloaded", "deadline", "cancelled", "error"):
            labels = (("outcome", outcome), ("route", route))
            assert ("mmreward_requests_total", labels) in names
    assert ("mmreward_items_total", (("model", "fake"), ("status", "not_finite"))) in names


async def test_labels_do_not_grow_with_what_callers_type(client: httpx2.AsyncClient) -> None:
    """Paths that do not exist share one label; ids and names appear nowhere."""
    before = set(await samples(client))
    for n in range(5):
        await client.get(f"/nowhere/{n}", headers={"X-Request-Id": f"id-{n}"})
        await client.post("/v1/score", json={"model": f"m{n}", "items": [1]})
    assert set(await samples(client)) == before


async def test_two_apps_in_one_process_count_for_themselves(item: dict[str, Any]) -> None:
    """No module-level metric: tests and embedders may build several apps."""
    async with serving() as one, serving() as other:
        await one.post("/v1/score", json={"items": [item]})
        key = ("mmreward_items_total", (("model", "fake"), ("status", "ok")))
        assert (await samples(one))[key] == 1
        assert (await samples(other))[key] == 0


async def test_names_follow_the_conventions(client: httpx2.AsyncClient) -> None:
    """Our prefix, no colon (that is for recording rules), base units, _total on counters."""
    text = (await client.get("/metrics")).text
    ours = [
        family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("mmreward")
    ]
    assert len(ours) >= 8
    for family in ours:
        assert ":" not in family.name
        assert "vllm" not in family.name
        assert family.documentation
        if family.type in ("histogram", "gauge") and "duration" in family.name:
            assert family.name.endswith("_seconds")
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_ms", "_percent"))
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)


async def test_promised_times_are_boundaries_of_buckets(client: httpx2.AsyncClient) -> None:
    """The share of requests within the promise is counted, not interpolated; milliseconds to
    minutes have buckets of their own."""
    bounds = {
        float(labels["le"])
        for (name, pairs) in await samples(client)
        if name == "mmreward_request_duration_seconds_bucket" and (labels := dict(pairs))
    }
    assert service_levels.LATENCY_SLO_S in bounds
    assert min(bounds) <= 0.005
    assert sorted(bounds)[-2] >= 300


async def test_requests_are_counted_by_the_public_name_of_their_key(item: dict[str, Any]) -> None:
    """Position or configured name, `none` without a valid key; probes are not counted, and no key
    is on the page."""
    body = {"items": [item]}
    for names, second in (((), "2"), (("nightly", "team-b"), "team-b")):
        async with serving(api_keys=("another-key", KEY), api_key_names=names) as client:
            good = {"Authorization": f"Bearer {KEY}"}
            await client.post("/v1/score", json=body, headers=good)
            await client.post("/v1/score", content=b"{", headers=good)
            await client.post("/v1/score", json=body, headers={"Authorization": "Bearer x"})
            await client.get("/health")
            value = value_in(await samples(client))
            page = (await client.get("/metrics")).text
        name = "mmreward_key_requests_total"
        assert value(name, key=second, outcome="ok") == 1
        assert value(name, key=second, outcome="invalid") == 1
        assert value(name, key="none", outcome="invalid") == 1
        assert value(name, key="none", outcome="ok") == 0
        assert value(name, key=names[0] if names else "1", outcome="ok") == 0
        assert KEY not in page
        assert "another-key" not in page
    async with serving() as client:
        await client.post("/v1/score", json=body)
        value = value_in(await samples(client))
        assert value("mmreward_key_requests_total", key="none", outcome="ok") == 1


async def test_what_is_under_way_is_seen_while_it_is(
    engine: FakeEngine, item: dict[str, Any]
) -> None:
    """Requests, their oldest age, critiques in the engine and before it; all 0 afterwards."""
    slow = {**item, "response": "[[slow]]"}
    async with serving(engine, max_pixels_in_flight=28 * 28) as client:
        names = (
            "mmreward_requests_in_flight",
            "mmreward_oldest_request_age_seconds",
            "mmreward_critiques_in_flight",
            "mmreward_critiques_waiting",
            "mmreward_engine_silence_seconds",
        )
        value = value_in(await samples(client))
        assert [value(name) for name in names] == [0, 0, 0, 0, 0]
        assert value("mmreward_last_completion_timestamp_seconds") > 1.7e9  # the warm-up's
        busy = [
            asyncio.create_task(client.post("/v1/score", json={"items": [slow], "critiques": 2}))
            for _ in range(2)
        ]
        while engine.running < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        value = value_in(await samples(client))
        assert value("mmreward_requests_in_flight") == 2
        assert value("mmreward_critiques_in_flight") == 4
        # There is room for the pixels of one picture: the other request waits for it.
        assert value("mmreward_critiques_waiting") == 2
        age = value("mmreward_oldest_request_age_seconds")
        assert age >= value("mmreward_engine_silence_seconds") >= 0.04
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        value = value_in(await samples(client))
        assert [value(name) for name in names] == [0, 0, 0, 0, 0]


async def test_what_runs_and_what_is_served_are_told(client: httpx2.AsyncClient) -> None:
    """The model of /v1/models, the version of /version."""
    labels = {
        name: dict(pairs) for (name, pairs) in await samples(client) if name.endswith("_info")
    }
    version = (await client.get("/version")).json()
    model = (await client.get("/v1/models")).json()["data"][0]
    build = labels["mmreward_build_info"]
    assert (build["version"], build["api"]) == (version["version"], str(version["api_version"]))
    assert labels["mmreward_model_info"] == {
        "model": model["id"],
        "fingerprint": model["provenance"]["fingerprint"],
        "kinds": "critique,judge",
        "dtype": "float32",
    }
