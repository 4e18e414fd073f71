"""What a trainer's own log is told of its calls."""

from __future__ import annotations

import asyncio
import pickle
import time

import pytest
from mmreward_client import (
    AsyncRewardClient,
    AttemptBegun,
    CallAbandoned,
    CallDone,
    CallFailed,
    Overloaded,
    RetryPolicy,
    RewardClient,
)
from mmreward_client.testing import Fault

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


def kinds(events):
    return [type(event).__name__ for event in events]


def test_events_of_a_call(local, make_client):
    """Attempt and end of a call, with times, counts by status and where the numbers come from."""
    events = []
    local.script(Fault("null", status="unparsed"))
    make_client(local.url, on_event=events.append).score(ITEMS)
    begun, done = events
    assert isinstance(begun, AttemptBegun)
    assert (begun.url, begun.number, begun.path) == (local.url, 1, "/v1/score")
    assert isinstance(done, CallDone)
    assert (done.items, done.nulls, done.statuses) == (3, 3, {"unparsed": 3})
    assert done.fingerprint == "local-service"
    assert done.request_id == begun.request_id == local.asked[0].request_id
    assert done.seconds > 0
    assert done.timings is not None


def test_events_of_pairs_groups_and_streams(local, make_client):
    """Nulls are missing margins, missing scores of responses, and counted in streams, too."""
    events = []
    client = make_client(local.url, on_event=events.append)
    local.script(Fault("null"), Fault("null"), Fault("null"))
    client.pairs([{"prompt": "q", "chosen": "a", "rejected": "b"}])
    client.groups([{"prompt": "q", "responses": ["a", "b", "c"]}])
    client.stream_all(ITEMS)
    ends = [event for event in events if isinstance(event, CallDone)]
    assert [(end.path, end.nulls) for end in ends] == [
        ("/v1/pairs", 1),
        ("/v1/groups", 3),
        ("/v1/score", 3),
    ]


def test_a_failed_call_is_told(local, make_client):
    """With the error that is raised, and how many attempts it took."""
    events = []
    local.script(*[Fault("overloaded", retry_after_s=None)] * 4)
    client = make_client(local.url, retries=QUICK, on_event=events.append)
    with pytest.raises(Overloaded) as caught:
        client.score(ITEMS)
    assert isinstance(events[-1], CallFailed)
    assert events[-1].error is caught.value
    assert events[-1].attempts == 4
    assert kinds(events).count("RetryPlanned") == 3


def test_a_stream_that_is_left_is_told(local):
    """Once, as abandoned; one that nobody read has not begun."""
    events = []
    with RewardClient(local.url, on_event=events.append) as client:
        with client.stream_score(ITEMS) as stream:
            next(stream)
        with client.stream_score(ITEMS):
            pass
    assert kinds(events) == ["AttemptBegun", "CallAbandoned"]
    assert events[1].request_id == events[0].request_id
    assert (events[1].attempts, events[1].reason) == (1, "GeneratorExit")


def test_a_cancelled_call_is_told(local):
    """Whole or streamed, where the task is cancelled while it waits."""
    local.script(Fault("silent"), Fault("silent"))
    events = []

    def arrived(asked):
        while len(local.asked) == asked:
            time.sleep(0.005)

    async def cancelled(method):
        async with AsyncRewardClient(local.url, on_event=events.append) as client:

            async def call():
                reply = getattr(client, method)(ITEMS, timeout_s=60.0)
                if method == "score":
                    return await reply
                return [result async for result in await reply]

            asked = len(local.asked)
            task = asyncio.create_task(call())
            await asyncio.to_thread(arrived, asked)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    for method in ("score", "stream_score"):
        asyncio.run(cancelled(method))
    assert kinds(events) == ["AttemptBegun", "CallAbandoned"] * 2
    assert {end.reason for end in events if isinstance(end, CallAbandoned)} == {"CancelledError"}


def test_a_hook_that_raises_hears_no_more_of_its_call(local, make_client):
    """What it raised comes out as it is, not over what it would raise at the end."""
    events = []

    def hook(event):
        events.append(event)
        raise RuntimeError(type(event).__name__)

    with pytest.raises(RuntimeError, match="AttemptBegun"):
        make_client(local.url, on_event=hook).score(ITEMS)
    assert kinds(events) == ["AttemptBegun"]


def test_a_hook_may_end_the_run(local, make_client):
    """What a hook raises comes out of the call, and the client can be used again."""

    def hook(event):
        if isinstance(event, CallDone) and event.nulls:
            raise RuntimeError("too many failures")

    local.script(Fault("null"))
    client = make_client(local.url, on_event=hook)
    with pytest.raises(RuntimeError, match="too many"):
        client.score(ITEMS)
    assert client.score(ITEMS).data


def test_a_hook_stays_behind_in_a_pickle(local):
    """A log of this process is no log of another; everything else travels, the key too."""
    with RewardClient(local.url, api_key="sk-1", on_event=lambda event: None) as client:
        content = pickle.dumps(client)
    with pickle.loads(content) as twin:
        assert twin.on_event is None
        assert twin.config.api_key == "sk-1"
        assert "sk-1" not in repr(twin)
