"""`groups()` and `pairs(kind=...)` of both clients: what is sent, and which reply is believed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from client_kit import Reply, envelope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmreward_client import (
    GroupInput,
    GroupResult,
    PinMismatch,
    ProtocolError,
    RetryPolicy,
    TransportError,
)
from mmreward_client.group_check import GroupCheck
from mmreward_client.schema import GroupItem
from PIL import Image

TEXTS = ["one", "three", "seventeen"]
GROUP = {"id": "g", "prompt": "q", "responses": TEXTS}


def group_entry(index, item, **changes):
    """A response's score is its length: a score on the wrong response shows."""
    whole = item.get("complete") or [True] * len(item["responses"])
    scores = [float(len(t)) if w else None for t, w in zip(item["responses"], whole, strict=True)]
    games = [(a, b) for a in range(len(whole)) for b in range(len(whole)) if a != b]
    games = [(a, b) for a, b in games if whole[a] and whole[b]]
    entry = {
        "index": index,
        "id": item.get("id"),
        "status": "ok",
        "scores": scores,
        "scores_from": [sum(n in game for game in games) for n in range(len(whole))],
        "comparisons": [
            {"first": a, "second": b, "scores": [scores[a], scores[b]], "critiques_ok": 1}
            for a, b in games
        ],
        "order_consistency": 1.0,
    }
    return {**entry, **changes}


def good(request):
    items = request.body["items"]
    return Reply(body=envelope([group_entry(i, item) for i, item in enumerate(items)]))


@pytest.fixture
def group_server(server):
    server.script = good
    return server


def test_scores_come_back_on_their_responses(group_server, make_client):
    """Score i of a group belongs to its response i, an incomplete one has none."""
    cut = {"prompt": "q", "responses": TEXTS, "complete": [True, False, True]}
    reply = make_client(group_server.url).groups([GROUP, cut])
    assert [one.scores for one in reply.data] == [[3.0, 5.0, 9.0], [3.0, None, 9.0]]
    assert [one.scores_from for one in reply.data] == [[4, 4, 4], [2, 0, 2]]
    assert [one.id for one in reply.data] == ["g", None]
    assert reply.data[0].comparisons[0].scores == (3.0, 5.0)
    assert group_server.received[0].path == "/v1/groups"


def test_options_are_sent_and_defaults_are_not(group_server, make_client):
    """Only what was given is on the wire; the deadline always is."""
    client = make_client(group_server.url)
    client.groups([GROUP])
    client.groups(
        [GROUP], orders="balanced", comparisons=2, aggregate="additive", critiques=3, seed=7
    )
    plain, full = (received.body for received in group_server.received)
    assert set(plain) == {"media", "items", "deadline_ms"}
    sent = {name: full[name] for name in ("orders", "comparisons", "aggregate", "critiques")}
    assert sent == {"orders": "balanced", "comparisons": 2, "aggregate": "additive", "critiques": 3}
    with pytest.raises(TypeError, match="opponents"):
        client.groups([GROUP], opponents=2)


def test_every_form_of_an_item_and_of_a_picture(group_server, make_client, tmp_path):
    """Mappings, the dataclass and the wire model; a picture shared by all is sent once."""
    image = Image.new("RGB", (5, 4), (1, 2, 3))
    image.save(tmp_path / "a.png")
    items = [
        {**GROUP, "images": [tmp_path / "a.png"]},
        GroupInput("q", tuple(TEXTS), complete=np.array([True, True, False]), images=[image]),
        GroupInput("q", TEXTS, video=([image, np.asarray(image)], 2.0)),
        GroupItem(prompt="q", responses=TEXTS, images=[str(tmp_path / "a.png")]),
        {**GROUP, "images": (tmp_path / "a.png").read_bytes()},
    ]
    reply = make_client(group_server.url).groups(items)
    assert [len(one.scores) for one in reply.data] == [3] * 5
    body = group_server.received[0].body
    # The same content is sent once: the file by any name, the pixels as a picture and as a frame.
    of_file = [body["items"][n]["images"] for n in (0, 3, 4)]
    assert of_file == [of_file[0]] * 3
    assert body["items"][1]["images"] == body["items"][2]["video"]["frames"][:1]
    assert body["items"][1]["complete"] == [True, True, False]
    assert len(body["items"][2]["video"]["frames"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [1.0, 2.0], "scores_from": [1, 1]}, "3 responses sent, 2 scores"),
        ({"scores": [1.0] * 4, "scores_from": [1] * 4}, "3 responses sent, 4 scores"),
        ({"scores": [], "scores_from": []}, "3 responses sent, 0 scores"),
        ({"scores_from": [4, 4]}, "length"),
        ({"scores_from": [4, 4, 0]}, "from 0 comparisons"),
        ({"comparisons": [{"first": 0, "second": 3, "scores": [1, 2]}]}, "compares 0 with 3"),
        ({"comparisons": [{"first": -1, "second": 1, "scores": [1, 2]}]}, "compares -1"),
        ({"comparisons": [{"first": 0, "second": 1, "status": "ok"}]}, "scores None"),
        ({"status": "truncated"}, "truncated with scores"),
        ({"index": 1}, "index 1 at place 0"),
        ({"id": "h"}, "id 'h'"),
    ],
)
def test_a_group_that_is_not_the_sent_one(group_server, make_client, changes, message):
    """Short, long and foreign lists are a ProtocolError, streamed or not; never a shifted score."""
    client = make_client(group_server.url)
    entry = {**group_entry(0, GROUP), **changes}
    group_server.script = lambda request: Reply(body=envelope([entry]))
    with pytest.raises(ProtocolError, match=message):
        client.groups([GROUP])
    if "index" not in changes:
        tail = {name: value for name, value in envelope([]).items() if name != "data"}
        lines = b"".join(json.dumps(line).encode() + b"\n" for line in (entry, tail))
        group_server.script = lambda request: Reply(body=lines)
        with pytest.raises(ProtocolError, match=message):
            client.stream_all([GROUP], method="stream_groups")


def test_a_score_for_an_incomplete_response(group_server, make_client):
    """What was said to take no part has no score, whatever the other side says."""
    group_server.script = lambda request: Reply(body=envelope([group_entry(0, GROUP)]))
    with pytest.raises(ProtocolError, match="scores response 1, which is not complete"):
        make_client(group_server.url).groups([{**GROUP, "complete": [True, False, True]}])


def test_lists_of_a_failed_group_are_filled(group_server, make_client):
    """One entry per response always: a group that failed as a whole has null for each of them."""
    failed = {"index": 0, "id": "g", "status": "invalid", "error": "no user turn"}
    group_server.script = lambda request: Reply(body=envelope([failed]))
    (result,) = make_client(group_server.url).groups([GROUP]).data
    assert (result.scores, result.scores_from) == ([None] * 3, [0] * 3)
    assert result.error == "no user turn"


def test_malformed_groups_can_only_be_invalid(group_server, make_client):
    """Responses that are no list travel, come back as invalid, and with no other status."""
    client = make_client(group_server.url)
    item = {"prompt": "q", "responses": "one text"}
    failed = {"index": 0, "status": "invalid", "error": "responses: not a list"}
    group_server.script = lambda request: Reply(body=envelope([failed]))
    assert client.groups([item]).data[0].scores == []
    group_server.script = lambda request: Reply(body=envelope([group_entry(0, GROUP, id=None)]))
    with pytest.raises(ProtocolError, match="malformed"):
        client.groups([item])


def test_streamed_groups(group_server, make_client):
    """Groups as they finish, afterwards the whole reply in order, lists filled."""
    items = [{**GROUP, "id": str(n)} for n in range(3)]
    lines = [group_entry(n, items[n]) for n in (2, 0)]
    lines.append({"index": 1, "id": "1", "status": "deadline", "error": "too late"})
    lines.append({name: value for name, value in envelope([]).items() if name != "data"})
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    group_server.script = lambda request: Reply(body=content)
    results, reply = make_client(group_server.url).stream_all(items, method="stream_groups")
    assert [one.index for one in results] == [2, 0, 1]
    assert results[2].scores == [None] * 3
    assert reply.data == sorted(results, key=lambda one: one.index)


def test_retried_like_any_call(group_server, make_client):
    """A lost answer is asked for again; a stream that broke after it began is not."""
    quick = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
    client = make_client(group_server.url, retries=quick)
    group_server.replies = [Reply(503, {}), Reply(drop="before")]
    assert client.groups([GROUP]).data[0].scores == [3.0, 5.0, 9.0]
    assert len(group_server.received) == 3
    group_server.replies = [Reply(body=b'{"index": 0}\n' * 9, drop="inside")]
    with pytest.raises((TransportError, ProtocolError)):
        client.stream_all([GROUP], method="stream_groups")
    assert len(group_server.received) == 4


def test_pinned(group_server, make_client):
    """Groups of another fingerprint than the pinned one are not believed."""
    with pytest.raises(PinMismatch):
        make_client(group_server.url, pin="sha256:beef").groups([GROUP])


def test_pairs_before_a_judge(server, make_client):
    """`kind` travels only if it is given; both orders come back."""
    entry = {"index": 0, "status": "ok", "delta": 1.5, "orders": [4.0, -1.0]}
    entry |= {name: {"status": "ok", "score": 3.0} for name in ("chosen", "rejected")}
    server.script = lambda request: Reply(body=envelope([entry]))
    client = make_client(server.url)
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert client.pairs([pair], kind="judge").data[0].orders == (4.0, -1.0)
    client.pairs([pair])
    assert [received.body.get("kind") for received in server.received] == ["judge", None]


@given(
    whole=st.lists(st.booleans(), min_size=1, max_size=6),
    scored=st.lists(st.booleans(), min_size=1, max_size=6),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_believed_if_and_only_if_it_fits(whole, scored):
    """A group passes exactly if it has one entry per response and none for an incomplete one."""
    check = GroupCheck.of([{"responses": ["x"] * len(whole), "complete": whole}])
    result = GroupResult(
        index=0,
        status="partial",
        scores=[1.0 if one else None for one in scored],
        scores_from=[int(one) for one in scored],
    )
    fits = len(scored) == len(whole) and all(
        w or not s for w, s in zip(whole, scored, strict=False)
    )
    if fits:
        assert check(result) is result
    else:
        with pytest.raises(ProtocolError):
            check(result)
