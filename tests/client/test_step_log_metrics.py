"""The hook for a trainer's own logger: one flat dict per step."""

from __future__ import annotations

import os
import threading

import pytest
from mmreward_client import (
    CallDone,
    Overloaded,
    ReplicaDown,
    RetryPlanned,
    RetryPolicy,
    RewardClient,
)
from mmreward_client.errors import TransportError
from mmreward_client.hooks import StepLog, several
from mmreward_client.testing import Fault

QUICK = RetryPolicy(retries=1, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "ab"]


def done(**fields):
    facts = {"path": "/v1/score", "request_id": "r", "attempts": 1, "seconds": 1.0, "waited_s": 0.0}
    return CallDone(**{**facts, **fields})


def test_a_step_holds_what_happened_in_it(local, make_client):
    """Retries, nulls and failures of one step; the next begins at 0 with the same keys."""
    steps = StepLog()
    client = make_client(local.url, retries=QUICK, on_event=steps)
    local.script(Fault("overloaded", retry_after_s=None), Fault("null", status="truncated"))
    client.score(ITEMS)
    local.script(*[Fault("overloaded", retry_after_s=None)] * 2)
    with pytest.raises(Overloaded):
        client.score(ITEMS)
    first = steps.step()
    assert first["reward/calls"] == 2
    assert first["reward/failed"] == 1
    assert first["reward/retries"] == 2
    assert first["reward/items"] == first["reward/nulls"] == 2
    assert first["reward/status/truncated"] == 2
    assert first["reward/seconds"] >= first["reward/longest_s"] > 0
    assert first["reward/wait_s"] <= 0.002
    client.score(ITEMS)
    second = steps.step()
    assert set(second) == {*first, "reward/status/ok"}
    assert (second["reward/calls"], second["reward/failed"]) == (1, 0)
    assert (second["reward/status/truncated"], second["reward/status/ok"]) == (0, 2)
    assert second["reward/service_s"] > 0


def test_keys_are_there_before_anything_happens():
    """A curve begins at step 0; the prefix is the caller's."""
    assert StepLog(prefix="rm/").step() == {
        f"rm/{name}": 0.0
        for name in (
            *("abandoned", "calls", "failed", "items", "longest_s", "nulls", "replicas_down"),
            *("retries", "seconds", "service_s", "wait_s"),
        )
    }


def test_no_event_is_lost_between_threads():
    """Steps that are taken while others tell: every event is in exactly one of them."""
    steps, taken = StepLog(), []
    error = TransportError("gone")

    def tell():
        for _ in range(500):
            steps(done(items=2, nulls=1, statuses={"ok": 1}))
            steps(RetryPlanned("/v1/score", "r", 1, "u", 0.5, error))
            steps(ReplicaDown("u", 5.0, error))

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(steps.step())
    taken.append(steps.step())
    total = {key: sum(one.get(key, 0) for one in taken) for key in taken[-1]}
    assert total["reward/calls"] == 2000
    assert (total["reward/items"], total["reward/nulls"]) == (4000, 2000)
    assert total["reward/wait_s"] == 1000
    assert total["reward/replicas_down"] == 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_counts_for_itself():
    """Even where a thread of the parent held the lock; the parent keeps what it had."""
    steps = StepLog()
    steps(done())
    reading, writing = os.pipe()
    with steps._lock:
        child = os.fork()
        if child == 0:
            steps(done())
            steps(done())
            os.write(writing, str(steps.step()["reward/calls"]).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "2.0"
    os.waitpid(child, 0)
    assert steps.step()["reward/calls"] == 1


def test_several_hooks_hear_the_same(local):
    """In order, the same events."""
    heard, steps = [], StepLog()
    with RewardClient(local.url, on_event=several(heard.append, steps)) as client:
        client.score(ITEMS)
    assert len([event for event in heard if isinstance(event, CallDone)]) == 1
    assert steps.step()["reward/calls"] == 1
