"""Fair queueing: shares of a busy engine, nobody starves, and every route goes through it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.fairness import FairQueue
from service_kit import serving


class Server:
    """An engine with one place: takes the lowest tag, then the earliest arrival."""

    def __init__(self) -> None:
        self.queue = FairQueue()
        self.line: list[tuple[int, int, str, Any]] = []
        self.arrivals = itertools.count()

    def add(self, name: str, jobs: int, cost: int = 1) -> None:
        flow = self.queue.flow()
        for _ in range(jobs):
            tag = flow.next_tag(cost)
            heapq.heappush(self.line, (tag, next(self.arrivals), name, flow))

    def serve(self) -> str:
        tag, _, name, flow = heapq.heappop(self.line)
        flow.finished(tag)
        return name


@given(st.integers(1, 60), st.integers(2, 40), st.integers(2, 40))
def test_two_that_wait_are_served_in_turn(head_start: int, one: int, other: int) -> None:
    """Whatever was served before, from the arrival on neither gets two more than the other."""
    server = Server()
    server.add("one", head_start + one)
    assert [server.serve() for _ in range(head_start)] == ["one"] * head_start
    server.add("other", other)
    served = {"one": 0, "other": 0}
    for _ in range(2 * min(one, other) - 1):
        served[server.serve()] += 1
        assert abs(served["one"] - served["other"]) <= 1


@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 5))
def test_nobody_starves_under_a_stream_of_newcomers(jobs: int, others: int, cost: int) -> None:
    """Others who each send a new request as soon as the last was answered: whatever waits d ahead
    of the clock is served after at most d rounds of them."""
    server = Server()
    server.add("old", jobs, cost)
    for _ in range(others):
        server.add("new", 1)
    served = 0
    for _ in range((jobs * cost + 1) * (others + 1)):
        if server.serve() == "old":
            served += 1
        else:
            server.add("new", 1)
    assert served == jobs


def test_a_sampled_critique_counts_as_many() -> None:
    """K critiques of one prompt are K times the work: two requests share by critiques."""
    server = Server()
    server.add("four", 10, cost=4)
    server.add("one", 40)
    served = [server.serve() for _ in range(25)]
    assert served.count("four") == 5
    assert served.count("one") == 20


def test_an_idle_past_earns_nothing() -> None:
    """Whoever comes late starts at the clock, not at zero: no credit for not having been there."""
    server = Server()
    server.add("one", 100)
    for _ in range(50):
        server.serve()
    server.add("late", 50)
    assert [server.serve() for _ in range(20)].count("late") in (9, 10, 11)


def test_what_was_cancelled_moves_no_clock() -> None:
    """A request of a thousand that hangs up does not push the others back."""
    queue = FairQueue()
    gone, here = queue.flow(), queue.flow()
    for _ in range(1000):
        gone.next_tag()
    here.finished(here.next_tag())
    assert queue.flow().next_tag() == 2


BIG = [f"answer {n}" for n in range(16)]


@pytest.fixture
def busy() -> FakeEngine:
    """Four at a time, a hundredth of a second each."""
    return FakeEngine(slots=4, seconds_per_token=0.0001)


@pytest.mark.parametrize(
    ("route", "body", "critiques"),
    [
        ("/v1/groups", {"items": [{"prompt": "q", "responses": ["a", "b", "c"]}]}, 6),
        ("/v1/pairs", {"items": [{"prompt": "q", "chosen": "a", "rejected": "b"}] * 3}, 6),
        ("/v1/score", {"items": [{"prompt": "q", "response": "a"}] * 6}, 6),
        ("/v1/score", {"items": [{"prompt": "q", "response": "a", "mode": "none"}] * 6}, 6),
    ],
)
async def test_a_small_request_does_not_wait_for_a_large_group(
    busy: FakeEngine, route: str, body: dict[str, Any], critiques: int
) -> None:
    """Beside 240 comparisons a small request is through after a few times its own work."""
    async with serving(busy) as client:
        group = {"items": [{"prompt": "q", "responses": BIG}]}
        large = asyncio.create_task(client.post("/v1/groups", json=group))
        before = busy.finished
        while busy.finished < before + 20:  # noqa: ASYNC110 - the engine has no event for it
            await asyncio.sleep(0.001)
        arrived = busy.finished
        reply = await client.post(route, json=body)
        took = busy.finished - arrived
        assert reply.status_code == 200
        assert all(item["status"] == "ok" for item in reply.json()["data"])
        assert critiques <= took <= 2 * critiques + 3 * 4
        assert not large.done()
        (result,) = (await large).json()["data"]
        assert (result["status"], len(result["comparisons"])) == ("ok", 240)


async def test_small_requests_one_after_another_do_not_stop_a_large_one(busy: FakeEngine) -> None:
    """With as many newcomers as places, the group of 16 still gets its share."""

    async def stream(client: httpx2.AsyncClient) -> None:
        while True:
            body = {"items": [{"prompt": "q", "response": "a"}]}
            await client.post("/v1/score", json=body)

    async with serving(busy) as client, asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(stream(client)) for _ in range(8)]
        group = {"items": [{"prompt": "q", "responses": BIG[:6]}]}
        (result,) = (await client.post("/v1/groups", json=group)).json()["data"]
        assert result["status"] == "ok"
        for task in others:
            task.cancel()
