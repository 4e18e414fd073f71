"""Several replicas: who is next, who is stepped over, how many at once."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from mmreward_client import (
    AsyncRewardClient,
    ReplicaDown,
    RetryPlanned,
    RetryPolicy,
    RewardClient,
    replicas,
)
from mmreward_client.testing import Fault, LocalService

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


def test_the_least_busy_replica_is_next():
    """While one replica sits on a request, all others go to the idle one."""
    with LocalService() as busy, LocalService() as idle:
        busy.script(Fault("silent"))
        with (
            RewardClient(urls=[busy.url, idle.url], retries=QUICK, timeout_s=60) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            waiting = pool.submit(client.score, ITEMS)
            while not busy.asked:
                time.sleep(0.005)
            for _ in range(5):
                client.score(ITEMS)
            assert (len(busy.asked), len(idle.asked)) == (1, 5)
            busy.stop()
            assert waiting.result().data == client.score(ITEMS).data


def test_fail_over_and_its_events(make_client, monkeypatch):
    """A killed replica costs no call: the other one answers, and the log knows why."""
    # Longer than the calls below take on any machine: it is asked a single time.
    monkeypatch.setattr(replicas, "COOL_DOWN_S", 600.0)
    events = []
    with LocalService() as first, LocalService() as second:
        client = make_client(urls=[first.url, second.url], retries=QUICK, on_event=events.append)
        client.score(ITEMS)
        (first if first.asked else second).stop()
        for _ in range(4):
            client.score(ITEMS)
        assert len(first.asked) + len(second.asked) == 5
    down = [event for event in events if isinstance(event, ReplicaDown)]
    assert len(down) == 1
    assert down[0].url == (first.url if len(first.asked) == 1 else second.url)
    assert [event.wait_s for event in events if isinstance(event, RetryPlanned)] == [0.0]


def test_bounded_concurrency():
    """Never more requests under way than the bound, from threads and from tasks."""
    with LocalService(latency_s=0.06) as service:
        with RewardClient(service.url, max_connections=3) as client, ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: client.score(ITEMS), range(18)))
        assert service.most_in_flight == 3

        async def tasks():
            async with AsyncRewardClient(service.url, max_connections=2) as client:
                await asyncio.gather(*(client.score(ITEMS) for _ in range(12)))

        service.most_in_flight = 0
        asyncio.run(tasks())
        assert service.most_in_flight == 2
