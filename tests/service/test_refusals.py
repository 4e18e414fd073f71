"""Requests that are not served at all: status, code and body of every refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mmreward_client.schema import ErrorReply
from mmreward_service import errors
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.engine.protocol import EngineDead, ImageRefused
from service_kit import picture_uri, serving

ROUTES = ("/v1/score", "/v1/pairs", "/v1/groups")


def check(reply: httpx2.Response, status: int, code: str, param: str | None = None) -> str:
    """The contract's error body, under the request id of the header; returns the message."""
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error", "request_id"}
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    body = ErrorReply.model_validate_json(reply.content)
    assert body.request_id == reply.headers["X-Request-Id"]
    assert (body.error.code, body.error.param) == (code, param)
    assert body.error.message
    return body.error.message


@pytest.mark.parametrize("route", [*ROUTES, "/get_reward"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1,", b"nonsense", b"\xff\xfe{}", b'{"items": "\\ud800"}', b"[" * 9000]
)
async def test_what_is_not_json_is_400(client: httpx2.AsyncClient, route: str, body: bytes) -> None:
    """Unreadable is another thing than wrong."""
    check(await client.post(route, content=body), 400, "malformed_json")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ("text", None),
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": {}}, "items"),
        ({"items": [1], "critiques": 0}, "critiques"),
        ({"items": [1], "critiques": "many"}, "critiques"),
        ({"items": [1], "temperature": -1}, "temperature"),
        ({"items": [1], "temperature": 2.5}, "temperature"),
        ({"items": [1], "seed": -1}, "seed"),
        ({"items": [1], "max_critique_tokens": 0}, "max_critique_tokens"),
        ({"items": [1], "deadline_ms": 0}, "deadline_ms"),
        ({"items": [1], "media": []}, "media"),
        ({"items": [1], "media": {"k": 1}}, "media.k"),
        ({"items": [1], "media": {"data:x": "y"}}, None),
        ({"items": [1], "critiques": 2, "temperature": 0}, None),
        ({"items": [1], "critique": 2}, "critique"),
        ({"items": [1], "model": 3}, "model"),
    ],
)
async def test_a_wrong_envelope_is_422(
    client: httpx2.AsyncClient, route: str, body: Any, param: str | None
) -> None:
    """The field is named; the items are not looked at."""
    check(await client.post(route, json=body), 422, "invalid_request", param)


@pytest.mark.parametrize("route", ROUTES)
async def test_an_unknown_model_is_404(client: httpx2.AsyncClient, route: str) -> None:
    """Nobody is answered by another model than the one that was asked."""
    body = {"model": "other", "items": [1]}
    check(await client.post(route, json=body), 404, "unknown_model", "model")
    assert (await client.post(route, json={**body, "model": "fake"})).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
async def test_a_wrong_pin_is_409_before_any_work(
    client: httpx2.AsyncClient, engine: FakeEngine, route: str, item: dict[str, Any]
) -> None:
    """A caller who insists on a fingerprint gets that one's scores or none."""
    before = engine.finished
    reply = await client.post(route, json={"pin": "0" * 64, "items": [item]})
    assert engine.provenance["fingerprint"] in check(reply, 409, "pin_mismatch", "pin")
    assert engine.finished == before
    pinned = {"pin": engine.provenance["fingerprint"], "items": [item]}
    assert (await client.post(route, json=pinned)).status_code == 200


async def test_unknown_paths_and_methods_have_the_same_body(client: httpx2.AsyncClient) -> None:
    """What the router refuses looks like every other refusal."""
    check(await client.get("/nowhere"), 404, "not_found")
    reply = await client.get("/v1/score")
    check(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"] == "POST"


async def test_limits_of_a_request() -> None:
    """Each refusal carries the name under which /v1/models shows the limit."""
    limits = {
        "max_items": 3,
        "max_critiques": 4,
        "max_in_flight": 6,
        "max_critique_tokens": 50,
        "max_body_bytes": 4000,
        "default_deadline_s": 5.0,
        "max_deadline_s": 10.0,
    }
    one = {"prompt": "p", "response": "r"}
    pair = {"prompt": "p", "chosen": "r", "rejected": "s"}
    async with serving(**limits) as client:
        shown = (await client.get("/v1/models")).json()["data"][0]["limits"]

        async def refused(route: str, status: int, name: str, param: str | None, **body: Any):
            check(await client.post(route, json=body), status, name, param)
            assert name in shown

        await refused("/v1/score", 413, "max_items", "items", items=[one] * 4)
        await refused("/v1/score", 413, "max_in_flight", "items", items=[one] * 2, critiques=4)
        await refused("/v1/pairs", 413, "max_in_flight", "items", items=[pair] * 2, critiques=2)
        await refused("/v1/score", 422, "max_critiques", "critiques", items=[one], critiques=5)
        await refused(
            "/v1/score",
            422,
            "max_critique_tokens",
            "max_critique_tokens",
            items=[one],
            max_critique_tokens=51,
        )
        await refused(
            "/v1/score", 422, "max_deadline_ms", "deadline_ms", items=[one], deadline_ms=10_001
        )
        await refused("/v1/score", 413, "max_body_bytes", None, items=["x" * 4000])
        fits = {"items": [one] * 3, "critiques": 2}
        assert (await client.post("/v1/score", json=fits)).status_code == 200


async def test_a_chunked_body_is_counted_while_it_is_read() -> None:
    """Without a Content-Length the limit holds as well, and the rest is not read."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            assert sent < 100_000, "the service went on reading"
            yield b" " * 1000

    async with serving(max_body_bytes=5000) as client:
        check(await client.post("/v1/score", content=endless()), 413, "max_body_bytes")


async def test_every_limit_is_shown(client: httpx2.AsyncClient) -> None:
    """/v1/models holds every limit that a caller can run into, and what the scores depend on."""
    (card,) = (await client.get("/v1/models")).json()["data"]
    from mmreward_service.settings import Settings

    named = {name for name in Settings.model_fields if name.startswith("max_")}
    named -= {"max_num_seqs", "max_deadline_s"}
    assert named | {"max_deadline_ms", "default_deadline_ms"} == set(card["limits"])
    assert card["provenance"]["fingerprint"]
    assert card["modes"] == ["generate", "given", "none"]
    assert len(card["calibration"]) == 3


async def test_over_the_bound_is_429_at_once(engine: FakeEngine) -> None:
    """With all permits in use a request is turned away with Retry-After; then it is served."""
    slow = {"prompt": "p", "response": "[[slow]]"}
    quick = {"prompt": "p", "response": "r"}
    async with serving(engine, max_in_flight=3, retry_after_s=7) as client:
        busy = asyncio.create_task(client.post("/v1/score", json={"items": [slow] * 2}))
        while engine.running < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        reply = await client.post("/v1/score", json={"items": [quick] * 2})
        assert "2 of 3" in check(reply, 429, "overloaded")
        assert int(reply.headers["Retry-After"]) == 7
        assert (await client.post("/v1/score", json={"items": [quick]})).status_code == 200
        # A broken item needs no permit.
        reply = await client.post("/v1/score", json={"items": [quick, 1, 2, 3]})
        assert reply.status_code == 200
        gauge = (await client.get("/metrics")).text
        assert "mmreward_critiques_in_flight 2.0" in gauge
        assert "mmreward_admission_limit 3.0" in gauge
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


async def test_a_stream_is_refused_like_any_request() -> None:
    """Refusals come before the first line, with their own status."""
    lines = {"Accept": "application/x-ndjson"}
    one = {"prompt": "p", "response": "r"}
    async with serving(max_in_flight=2) as client:
        reply = await client.post("/v1/score", json={"items": [one] * 3}, headers=lines)
        check(reply, 413, "max_in_flight", "items")
        reply = await client.post("/v1/score", content=b"{", headers=lines)
        check(reply, 400, "malformed_json")


async def test_a_deadline_before_the_engine_is_504(
    engine: FakeEngine, item: dict[str, Any]
) -> None:
    """Nothing was tried, so the whole request may be tried again."""
    async with serving(engine, max_pixels_in_flight=1) as client:
        budget = client._transport.app.state.service.decoder.budget  # type: ignore[attr-defined]
        async with budget.hold(1):
            body = {
                "items": [{**item, "images": [picture_uri((1, 1))]}] * 3,
                "deadline_ms": 100,
            }
            finished = engine.finished
            reply = await client.post("/v1/score", json=body)
    check(reply, 504, "deadline")
    assert engine.finished == finished


async def test_a_dead_engine_is_503(engine: FakeEngine, item: dict[str, Any]) -> None:
    """The request that finds out, the ones after it, and /ready all say so."""
    async with serving(engine, retry_after_s=9) as client:
        reply = await client.post("/v1/score", json={"items": [{**item, "response": "[[dead]]"}]})
        check(reply, 503, "engine_stopped")
        assert reply.headers["Retry-After"] == "9"
        check(await client.post("/v1/score", json={"items": [item]}), 503, "engine_stopped")
        check(await client.get("/ready"), 503, "engine_stopped")
        assert (await client.get("/health")).status_code == 200


async def test_an_engine_that_fails_in_parts_is_understood(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, item: dict[str, Any]
) -> None:
    """A job whose parts run side by side fails with a group; its meaning is that of its members."""
    failures: list[Exception] = [ImageRefused("no"), EngineDead("gone")]

    async def critique(_: object) -> None:
        raise ExceptionGroup("parts", [failures.pop(0)])

    async with serving(engine) as client:
        monkeypatch.setattr(engine, "critique", critique)
        reply = await client.post("/v1/score", json={"items": [item]})
        assert reply.json()["data"][0]["status"] == "image_error"
        reply = await client.post("/v1/score", json={"items": [item]})
        check(reply, 503, "engine_stopped")
        assert "mmreward_ready 0.0" in (await client.get("/metrics")).text


async def test_a_fault_outside_of_the_items_is_500(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, item: dict[str, Any]
) -> None:
    """A bug of ours is an answer too: type and request id, nothing of what was sent."""
    from mmreward_service import answer

    def bug(*_: object) -> None:
        raise ZeroDivisionError(f"quoting {item['prompt']}")

    monkeypatch.setattr(answer, "Run", bug)
    message = check(await client.post("/v1/score", json={"items": [item]}), 500, "internal")
    assert "ZeroDivisionError" in message
    assert item["prompt"] not in message


async def test_request_ids_are_echoed_if_they_are_harmless(client: httpx2.AsyncClient) -> None:
    """Anything that could forge a log line or a header is replaced."""
    for good in ("a", "req-1:2.3_x", "z" * 128):
        reply = await client.get("/nowhere", headers={"X-Request-Id": good})
        assert reply.headers["X-Request-Id"] == good == reply.json()["request_id"]
    for bad in ("", "a b", "x=y", "z" * 129, "a\tb"):
        reply = await client.get("/health", headers={"X-Request-Id": bad})
        assert reply.headers["X-Request-Id"] != bad
        assert len(reply.headers["X-Request-Id"]) == 32


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every error of the package stands in the picture, with its status and code."""

    def below(kind: type[Exception]) -> list[type[Exception]]:
        return [kind, *(sub for direct in kind.__subclasses__() for sub in below(direct))]

    assert errors.__doc__ is not None
    for kind in below(errors.RefusedError)[1:]:
        (line,) = [row for row in errors.__doc__.splitlines() if f" {kind.__name__} " in row]
        assert f" {kind.status} " in line  # type: ignore[attr-defined]
        assert f" {kind.type} " in line  # type: ignore[attr-defined]
        if kind is not errors.TooLarge:
            assert f" {kind.default_code} " in line  # type: ignore[attr-defined]
        assert (" yes" in line) == kind.retryable  # type: ignore[attr-defined]
    for item_kind in below(errors.ItemError)[1:]:
        (line,) = [row for row in errors.__doc__.splitlines() if f" {item_kind.__name__} " in row]
        assert line.endswith(item_kind.status)  # type: ignore[attr-defined]
