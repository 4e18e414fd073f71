"""Clients that were made, used and locked before a fork."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from mmreward_client import (
    AsyncRewardClient,
    RewardClient,
)

ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


def _many_calls(client, answers):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.score(ITEMS), range(16)))
    outstanding = client._connections.replicas.outstanding
    answers.put((len(replies), client.pin, set(outstanding.values())))


def test_forked_workers_with_threads(local):
    """A client made, used and locked before the fork serves many threads of each worker."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with RewardClient(local.url, pin="first", max_connections=2) as client:
        client.score(ITEMS)
        with client._connections._lock, client._connections.replicas._lock:
            workers = [
                context.Process(target=_many_calls, args=(client, answers)) for _ in range(2)
            ]
            for worker in workers:
                worker.start()
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        assert [answers.get() for _ in workers] == [(16, "local-service", {0})] * 2
        assert client.score(ITEMS).data
    answers.close()


def _in_a_loop_of_its_own(client, answers):
    answers.put(asyncio.run(client.score(ITEMS)).data[0].status)


def test_async_client_in_a_forked_worker(local):
    """An async client that was used before the fork opens its own connections in the worker."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    client = AsyncRewardClient(local.url)

    async def use():
        async with client:
            await client.score(ITEMS)

    asyncio.run(use())
    worker = context.Process(target=_in_a_loop_of_its_own, args=(client, answers))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    assert answers.get() == "ok"
    answers.close()
