"""Threads, forks, event loops, pickles: where a client inside a training job ends up."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from client_kit import Reply, envelope, score_entry
from mmreward_client import AsyncRewardClient, ProtocolError, RetryPolicy, RewardClient


def item(n):
    return {"id": str(n), "prompt": "q", "response": "x" * n}


def test_threads_share_a_client(server):
    """Many threads get their own answers over a bounded number of connections."""
    with RewardClient(server.url, max_connections=4) as client:
        with ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda n: client.score([item(n)]), range(1, 65)))
        assert client._connections.replicas.outstanding == {server.url: 0}
    assert [reply.data[0].score for reply in replies] == list(range(1, 65))


def test_tasks_share_a_client(server):
    """So do tasks of an event loop."""

    async def run():
        async with AsyncRewardClient(server.url, max_connections=4) as client:
            return await asyncio.gather(*(client.score([item(n)]) for n in range(1, 65)))

    assert [reply.data[0].score for reply in asyncio.run(run())] == list(range(1, 65))


def test_one_async_client_in_two_loops(server):
    """A second asyncio.run with the same client opens its own connections."""
    client = AsyncRewardClient(server.url)

    async def run(n):
        async with client:
            return (await client.score([item(n)])).data[0].score

    assert asyncio.run(run(3)) == 3.0
    assert asyncio.run(run(4)) == 4.0


def test_cancelled_call(server):
    """A cancelled call hangs up and is no longer counted."""
    server.script = lambda request: Reply(body={}, delay_s=30.0)

    async def run():
        async with AsyncRewardClient(server.url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.score([item(1)])
            return client._connections.replicas.outstanding

    assert asyncio.run(run()) == {server.url: 0}


def _score_in_child(client, answers):
    answers.put(client.score([item(7)]).data[0].score)


def test_forked_worker(server):
    """A worker forked from a used client scores, and so does the parent afterwards."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with RewardClient(server.url) as client:
        client.score([item(1)])
        # As if another thread were inside the client at the moment of the fork.
        with client._connections._lock, client._connections.replicas._lock:
            child = context.Process(target=_score_in_child, args=(client, answers))
            child.start()
        child.join(60)
        assert child.exitcode == 0
        assert answers.get() == 7.0
        assert client.score([item(2)]).data[0].score == 2.0
    answers.close()


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_pickling_carries_the_settings(kind):
    """A client comes out of a pickle with all its settings and no connections."""
    client = kind(
        urls=["http://a:1", "http://b:2/"],
        api_key="sk-secret",
        timeout_s=7.0,
        connect_timeout_s=2.0,
        retries=RetryPolicy(retries=9),
        pin="f",
        max_connections=3,
    )
    twin = pickle.loads(pickle.dumps(client))
    assert type(twin) is kind
    assert twin.config == client.config
    assert twin.config.urls == ("http://a:1", "http://b:2")


def test_a_used_client_can_be_pickled(server):
    """Also after its first call, open connections and locks notwithstanding."""
    with RewardClient(server.url) as client:
        client.score([item(1)])
        with pickle.loads(pickle.dumps(client)) as twin:
            assert twin.score([item(5)]).data[0].score == 5.0


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_the_key_is_never_shown(kind):
    """Neither repr nor the settings' repr holds the key."""
    client = kind(api_key="sk-secret")
    assert "sk-secret" not in repr(client) + repr(client.config) + str(client)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"urls": []}, "at least one"),
        ({"urls": ["http://a", "http://a/"]}, "twice"),
        ({"urls": "http://a"}, "list"),
        ({"url": "http://a", "urls": ["http://b"]}, "not both"),
        ({"url": "http://me:secret@a:1"}, "^the address of a:1 holds a user or a password"),
        ({"url": "ftp://me:se/cret@a"}, "^the address of a holds a user or a password"),
        ({"url": "localhost:8000"}, "not an http"),
        ({"url": "ftp://a"}, "not an http"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"connect_timeout_s": -1}, "connect_timeout_s"),
        ({"max_connections": 0}, "max_connections"),
        ({"retries": -1}, "retries"),
        ({"api_key": "a\nb"}, "api_key"),
    ],
)
def test_constructor_refuses(options, message):
    """Arguments that cannot work are refused at construction, not in the first step."""
    with pytest.raises(ValueError, match=message):
        RewardClient(**options)


def test_unknown_argument():
    """A misspelt constructor argument is refused."""
    with pytest.raises(TypeError, match="time_out"):
        RewardClient(time_out=3)


def test_timeout_of_a_call_is_checked():
    """Zero seconds for a call is a mistake, not the default."""
    with RewardClient() as client, pytest.raises(ValueError, match="timeout_s"):
        client.score([item(1)], timeout_s=0)


def test_transport_seam():
    """Tests of others can put their own transport in place of the network."""

    def handler(request):
        return httpx2.Response(200, json=envelope([score_entry(0, item(2))]))

    with RewardClient(transport=httpx2.MockTransport(handler)) as client:
        assert client.score([item(2)]).data[0].score == 2.0
        with pytest.raises(ProtocolError):
            list(client.stream_score([item(2)]))
