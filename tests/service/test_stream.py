"""Streaming: a line per item when it is finished, then everything else."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from mmreward_client.schema import PairResult, ScoreResult
from mmreward_service import answer
from mmreward_service.engine.fake import FakeEngine
from service_kit import listening

LINES = {"Accept": "application/x-ndjson"}


def parse(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *items, last = [json.loads(line) for line in text.splitlines()]
    return items, last


async def test_the_lines_are_the_items_and_the_rest(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Put together, the lines hold what the one document holds."""
    items = [{**item, "id": f"i{n}", "response": f"r{n}"} for n in range(5)] + [3]
    whole = (await client.post("/v1/score", json={"items": items})).json()
    reply = await client.post("/v1/score", json={"items": items}, headers=LINES)
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines, last = parse(reply.text)
    lines.sort(key=lambda line: line["index"])
    assert lines == whole["data"]
    assert set(last) == set(whole) - {"data"}
    assert last["id"] == reply.headers["X-Request-Id"]
    assert last["usage"] == whole["usage"]
    assert last["provenance"] == whole["provenance"]
    for line in lines:
        ScoreResult.model_validate(line)


async def test_pairs_stream_as_well(client: httpx2.AsyncClient, pair: dict[str, Any]) -> None:
    """The same for /v1/pairs."""
    whole = (await client.post("/v1/pairs", json={"items": [pair, {}]})).json()
    reply = await client.post("/v1/pairs", json={"items": [pair, {}]}, headers=LINES)
    lines, last = parse(reply.text)
    assert sorted(lines, key=lambda line: line["index"]) == whole["data"]
    assert last["object"] == "list"
    for line in lines:
        PairResult.model_validate(line)


async def test_a_stream_is_not_silent_while_it_computes(
    engine: FakeEngine, item: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty lines until all is finished, which clients step over; none after the last line."""
    monkeypatch.setattr(answer, "KEEP_ALIVE_S", 0.02)
    body = {"items": [{**item, "response": "[[slow]]"}], "deadline_ms": 500}
    async with (
        listening(engine) as url,
        httpx2.AsyncClient(base_url=url) as client,
        client.stream("POST", "/v1/score", json=body, headers=LINES) as reply,
    ):
        lines = [line async for line in reply.aiter_lines()]
    found = [json.loads(line) for line in lines if line]
    assert [one.get("status") for one in found] == ["deadline", None]
    assert lines.count("") >= 5
    assert lines[-1] != ""


async def test_a_finished_item_is_sent_while_others_are_running(
    engine: FakeEngine, item: dict[str, Any]
) -> None:
    """Over a real connection: the second item's line is here while the first is in the engine."""
    body = {"items": [{**item, "response": "[[slow]]"}, item], "deadline_ms": 3000}
    async with (
        listening(engine) as url,
        httpx2.AsyncClient(base_url=url) as client,
        client.stream("POST", "/v1/score", json=body, headers=LINES) as reply,
    ):
        assert reply.headers["transfer-encoding"] == "chunked"
        lines = reply.aiter_lines()
        first = json.loads(await anext(lines))
        assert (first["index"], first["status"], engine.running) == (1, "ok", 1)
        second = json.loads(await anext(lines))
        assert (second["index"], second["status"]) == (0, "deadline")
        assert json.loads(await anext(lines))["object"] == "list"


@pytest.mark.parametrize("marker", ["[[dead]]", "[[fault]]"])
async def test_what_goes_wrong_after_the_first_byte_is_said_in_the_lines(
    client: httpx2.AsyncClient, item: dict[str, Any], marker: str
) -> None:
    """The status is out already: each item that has no score says so, and the stream ends whole."""
    body = {"items": [{**item, "response": marker}]}
    reply = await client.post("/v1/score", json=body, headers=LINES)
    assert reply.status_code == 200
    (line,), last = parse(reply.text)
    assert (line["status"], line["score"]) == ("internal", None)
    assert last["object"] == "list"
