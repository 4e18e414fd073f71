"""/metrics: what is counted, and that labels stay bounded."""

from __future__ import annotations

from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from service_kit import serving

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(client: httpx2.AsyncClient) -> Samples:
    reply = await client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


async def test_requests_and_items_are_counted_by_outcome(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """One ok request with three items, one refused one."""
    before = await samples(client)
    truncated = {**item, "response": "[[truncated]]"}
    await client.post("/v1/score", json={"items": [item, truncated, 1]})
    await client.post("/v1/score", content=b"{")
    after = await samples(client)

    def gained(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after[key] - before[key]

    route = "/v1/score"
    assert gained("mmreward_requests_total", route=route, outcome="ok") == 1
    assert gained("mmreward_requests_total", route=route, outcome="invalid") == 1
    assert gained("mmreward_request_duration_seconds_count", route=route) == 2
    for status in ("ok", "truncated", "invalid"):
        assert gained("mmreward_items_total", model="fake", status=status) == 1
    assert gained("mmreward_items_total", model="fake", status="internal") == 0
    assert gained("mmreward_stage_duration_seconds_count", stage="engine") == 1


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
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)
