"""`mmreward bench`: every request is counted once, failures apart, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import json
import math
import time
from itertools import count, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.benching.arrivals import Load, due_times
from mmreward_client.benching.figures import figures_of, nearest_rank
from mmreward_client.benching.load import Sample, run_load
from mmreward_client.benching.requests import endless_batches, route_of
from mmreward_client.cli.app import app
from mmreward_client.errors import Overloaded
from mmreward_client.testing import Fault, FaultPlan, LocalService
from typer.testing import CliRunner

ROW = {"prompt": "What is it?", "response": "A cat."}


@pytest.fixture
def service():
    with LocalService() as service:
        yield service


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**ROW, "id": str(i)}) + "\n" for i in range(3)))
    return path


def run(url, *arguments):
    environment = {"MMREWARD_URL": url, "COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["bench", *map(str, arguments)], env=environment)


def test_counts(service, rows):
    """As many requests as asked for are counted; those of the warm-up are sent, but not counted."""
    done = run(
        service.url, "--file", rows, "--requests", 10, "--items", 2, "--warm-up", 3, "--json"
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["requests"] == {"answered": 10, "errors": {}}
    assert found["items"] == {"ok": 20}
    assert sum(one.path == "/v1/score" for one in service.asked) == 13
    times = found["latency_s"]
    assert 0 < times["p50"] <= times["p90"] <= times["p95"] <= times["p99"] <= times["max"]
    assert found["seconds"] >= times["max"]


def test_turned_away(rows):
    """A request that is turned away is a finding, not tried again, and no part of the latencies."""
    plan = [Fault("overloaded"), Fault("null", status="truncated")]
    with LocalService(faults=plan) as service:
        done = run(
            service.url,
            "--file",
            rows,
            "--requests",
            5,
            "--warm-up",
            0,
            "--concurrency",
            1,
            "--json",
        )
        asked = sum(one.path == "/v1/score" for one in service.asked)
    found = json.loads(done.stdout)
    assert asked == 5
    assert found["requests"] == {"answered": 4, "errors": {"overloaded": 1}}
    assert found["items"] == {"truncated": 1, "ok": 3}
    assert found["scored_items_per_s"] < found["requests_per_s"]


def test_nothing_scored(rows):
    """A load of which nothing got a score is no success."""
    with LocalService(faults=FaultPlan(chances={"null": 1.0})) as service:
        done = run(service.url, "--file", rows, "--requests", 3, "--warm-up", 0)
    assert done.exit_code == 1
    assert "not one item has a score" in done.stderr


def test_table(service, rows):
    done = run(service.url, "--file", rows, "--requests", 3, "--warm-up", 0, "--rate", 200)
    assert done.exit_code == 0, done.output
    assert "requests answered" in done.stdout
    assert "latency, 99 %" in done.stdout


def test_other_routes(service, tmp_path):
    """The answers of a row say which route it is for."""
    pair, group = tmp_path / "pair.jsonl", tmp_path / "group.jsonl"
    pair.write_text(json.dumps({"prompt": "?", "chosen": "a", "rejected": "b"}) + "\n")
    group.write_text(json.dumps({"prompt": "?", "responses": ["a", {"text": "b"}]}) + "\n")
    for path, route in ((pair, "/v1/pairs"), (group, "/v1/groups")):
        done = run(service.url, "--file", path, "--requests", 2, "--warm-up", 0, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["route"] == route


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the first row has none of"),
        ('{"prompt": "?"}\n', "the first row has none of"),
        (json.dumps(ROW) + "\n" + '{"prompt": "?"}\n', "rows.jsonl:2"),
        (json.dumps({**ROW, "images": ["missing.png"]}) + "\n", "missing.png"),
    ],
)
def test_bad_rows(service, tmp_path, content, said):
    """A file that cannot be sent is named with its line before anything is sent."""
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    done = run(service.url, "--file", path)
    assert done.exit_code == 2
    assert said in done.stderr.replace("\n", "")
    assert not service.asked


def test_unreachable(rows):
    done = run("http://127.0.0.1:9", "--file", rows)
    assert done.exit_code == 1
    assert "TransportError" in done.stderr


@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from(["score", "pairs", "groups"]))
def test_no_answer_twice(rows, batch_size, route):
    """However long a load is, no answer is sent twice with its question."""
    one = {
        "score": {"response": "x"},
        "pairs": {"chosen": "x", "rejected": "y"},
        "groups": {"responses": ["x", "y"]},
    }[route]
    items = [{"prompt": str(i), **one} for i in range(rows)]
    assert {route_of(item) for item in items} == {route}
    sent = [
        json.dumps(item)
        for batch in islice(endless_batches(items, route, batch_size), 10)
        for item in batch
    ]
    assert len(set(sent)) == len(sent) == 10 * batch_size


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_nearest_rank(values, percentile):
    """At least that share of the values is not above it, and no smaller value has that property."""
    ordered = sorted(values)
    found = nearest_rank(ordered, percentile)
    needed = math.ceil(percentile / 100 * len(ordered))
    assert sum(value <= found for value in ordered) >= needed
    assert sum(value < found for value in ordered) < needed


async def test_closed_loop():
    """Never more under way than asked for, and always as many while there is work."""
    under_way = most = 0

    async def ask(items):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        raise Overloaded("no", status=429, code="overloaded")

    noted: list[Sample] = []
    await run_load(ask, ([{"n": n}] for n in count()), Load(40, concurrency=4), noted.append)
    assert most == 4
    assert [sample.error for sample in noted] == ["overloaded"] * 40


async def test_open_loop():
    """Requests are due at times of their own: a service that stands still does not delay them,
    and the time that it stood still is part of every latency."""
    opened = asyncio.Event()

    async def ask(items):
        await opened.wait()
        raise Overloaded("no", status=429, code="overloaded")

    noted: list[Sample] = []
    load = Load(20, rate_per_s=200, seed=3)
    running = asyncio.create_task(run_load(ask, ([{"n": n}] for n in count()), load, noted.append))
    await asyncio.sleep(0.6)
    opened.set()
    await running
    alone = [due async for due in due_times(load, None)]
    gaps = [b - a for a, b in pairwise(alone)]
    dues = sorted(sample.due_s for sample in noted)
    assert [b - a for a, b in pairwise(dues)] == pytest.approx(gaps, abs=1e-9)
    assert all(sample.due_s + sample.seconds >= 0.59 for sample in noted)


async def test_what_is_due_after_the_end_is_not_waited_for():
    """At a low rate the second request may be due minutes after the time is over."""
    load = Load(seconds=0.5, rate_per_s=0.01, seed=0)
    async with asyncio.timeout(5):
        assert len([due async for due in due_times(load, None)]) == 1


async def test_seconds():
    """Nothing is sent after the time is over."""

    async def ask(items):
        await asyncio.sleep(0)
        raise Overloaded("no", status=429, code="overloaded")

    noted: list[Sample] = []
    begun = time.monotonic()
    await run_load(ask, ([{}] for _ in count()), Load(seconds=0.05, rate_per_s=100), noted.append)
    assert all(sample.due_s < 0.05 for sample in noted)
    assert time.monotonic() > begun


@pytest.mark.parametrize(
    "arguments",
    [{"concurrency": 1}, {"requests": 1}, {"requests": 1, "concurrency": 1, "rate_per_s": 1.0}],
)
def test_a_load_that_never_ends_or_is_two(arguments):
    with pytest.raises(ValueError, match="a load"):
        Load(**arguments)


def test_figures_of_nothing():
    with pytest.raises(ValueError, match="no request"):
        figures_of([])
    only_failed = figures_of([Sample(0.0, 1.0, error="overloaded")])
    assert (only_failed.mean_s, only_failed.latency_s, only_failed.cached_share) == (None, {}, None)
