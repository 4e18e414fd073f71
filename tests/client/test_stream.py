"""Streamed replies: results as they finish, and a cut stream is never taken for a whole one."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from client_kit import Reply, score_entry
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import (
    AsyncRewardClient,
    DeadlineExceeded,
    Overloaded,
    PinMismatch,
    ProtocolError,
    RetryPolicy,
    RewardClient,
    TransportError,
)
from mmreward_client.stream import Lines

ITEMS = [{"id": str(n), "prompt": "q", "response": "x" * (n + 1)} for n in range(4)]
TAIL = {"object": "list", "id": "r", "model": "m", "provenance": {"fingerprint": "f"}}


def ndjson(order=(2, 0, 3, 1), tail=TAIL):
    lines = [score_entry(index, ITEMS[index]) for index in order]
    return b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, tail] if line)


def test_in_order_of_finishing_then_whole(server, make_client):
    """Results come as they finish; afterwards the reply holds them in request order."""
    server.replies = [Reply(body=ndjson())]
    results, reply = make_client(server.url).stream_all(ITEMS)
    assert [r.index for r in results] == [2, 0, 3, 1]
    assert [r.index for r in reply.data] == [0, 1, 2, 3]
    assert [r.score for r in reply.data] == [1.0, 2.0, 3.0, 4.0]
    assert server.received[0].headers["accept"] == "application/x-ndjson"


def test_odd_line_breaks_inside_a_critique(server, make_client):
    """U+2028, form feeds and NEL in a critique do not cut its line; empty lines are skipped."""
    entry = score_entry(0, ITEMS[0])
    entry["critiques"][0]["text"] = "a\u2028b\x85c"
    body = (
        b"\n" + json.dumps(entry, ensure_ascii=False).encode() + b"\n\n" + json.dumps(TAIL).encode()
    )
    server.replies = [Reply(body=body)]
    results, _ = make_client(server.url).stream_all(ITEMS[:1])
    assert results[0].critiques[0].text == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("order", "tail", "message"),
    [
        ((0, 1, 2), TAIL, "without the items"),
        ((0, 1, 2, 3, 3), TAIL, "twice"),
        ((0, 1, 2, 3), None, "before its last line"),
        ((), None, "before its last line"),
        ((0, 1, 2, 3), {"hello": 1}, "ScoreReply"),
        ((0, 1, 2, 3), {"index": 4, "status": "internal"}, "out of range"),
        ((0, 1, 2, 3), {"index": -1, "status": "internal"}, "out of range"),
        ((0, 1, 2, 3), [1], "unexpected line"),
    ],
)
def test_broken_streams(server, make_client, order, tail, message):
    """Missing, doubled and foreign lines, and an end before the end, raise."""
    server.replies = [Reply(body=ndjson(order, tail))]
    with pytest.raises(ProtocolError, match=message):
        make_client(server.url).stream_all(ITEMS)


def test_cut_inside(server, make_client):
    """A connection that breaks midway is a TransportError, and is not begun again."""
    server.replies = [Reply(body=ndjson(), drop="inside")]
    with pytest.raises(TransportError, match="stream broke"):
        make_client(server.url).stream_all(ITEMS)
    assert len(server.received) == 1


def test_retried_until_it_begins(server, make_client):
    """Until the first good status a stream is retried like any call."""
    server.replies = [Reply(503, {}), Reply(drop="before"), Reply(body=ndjson())]
    quick = RetryPolicy(retries=3, base_s=0.001)
    results, _ = make_client(server.url, retries=quick).stream_all(ITEMS)
    assert len(results) == 4


def test_error_inside(server, make_client):
    """An error line has the class of its family."""
    detail = {"message": "enough", "type": "overloaded", "code": "overloaded"}
    tail = {"error": detail, "request_id": "req-1"}
    server.replies = [Reply(body=ndjson((0,), tail))]
    with pytest.raises(Overloaded, match="enough") as caught:
        make_client(server.url).stream_all(ITEMS)
    assert caught.value.request_id == "req-1"


def test_pin(server, make_client):
    """The last line tells the fingerprint, and a wrong one raises."""
    server.replies = [Reply(body=ndjson())]
    with pytest.raises(PinMismatch):
        make_client(server.url, pin="other").stream_all(ITEMS)


def test_deadline_of_a_dripping_stream(server, make_client):
    """A stream that never quite ends is ended by the call's deadline."""
    server.replies = [Reply(body=ndjson(), drip_s=0.02)]
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        make_client(server.url).stream_all(ITEMS, timeout_s=0.4)
    assert time.monotonic() - begun < 8.0  # the drip itself would take a quarter of a minute


def test_leaving_early_gives_the_replica_back(server):
    """After a stream that was left nothing is counted as under way any more."""
    server.script = lambda request: Reply(body=ndjson())
    with RewardClient(server.url) as client:
        with client.stream_score(ITEMS) as stream:
            assert next(stream).index == 2
            assert client._connections.replicas.outstanding == {server.url: 1}
        assert stream.reply is None
        assert client._connections.replicas.outstanding == {server.url: 0}
        with pytest.raises(ProtocolError), client.stream_score(ITEMS[:1]) as stream:
            next(stream)
        assert client._connections.replicas.outstanding == {server.url: 0}

    async def leave():
        async with AsyncRewardClient(server.url) as client:
            async with await client.stream_score(ITEMS) as stream:
                assert (await anext(stream)).index == 2
            assert client._connections.replicas.outstanding == {server.url: 0}

    asyncio.run(leave())


def test_pairs(server):
    """Pairs stream like scores do."""
    side = {"status": "ok", "score": 1.0}
    pair = {"index": 0, "status": "ok", "chosen": side, "rejected": side, "delta": 0.0, "beta": 0.1}
    server.script = lambda request: Reply(body=ndjson_of(pair))

    def ndjson_of(entry):
        return json.dumps(entry).encode() + b"\n" + json.dumps(TAIL).encode() + b"\n"

    item = {"prompt": "q", "chosen": "a", "rejected": "b"}
    with RewardClient(server.url) as client, client.stream_pairs([item]) as stream:
        assert [r.delta for r in stream] == [0.0]

    async def run():
        async with (
            AsyncRewardClient(server.url) as client,
            await client.stream_pairs([item]) as stream,
        ):
            return [r.beta async for r in stream]

    assert asyncio.run(run()) == [0.1]


@given(st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\n", b"")), max_size=6), st.data())
def test_lines_do_not_depend_on_the_chunks(lines, data):
    """However the bytes are cut up, the same lines come out."""
    content = b"\n".join(lines)
    splitter, found, place = Lines(), [], 0
    while place < len(content):
        size = data.draw(st.integers(1, len(content) - place))
        found += splitter.feed(content[place : place + size])
        place += size
    assert [*found, splitter.close()] == (lines or [b""])
