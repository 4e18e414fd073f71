"""One model for the whole run: a changed one raises before any of its numbers is used."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmreward_client import (
    InvalidInput,
    PinMismatch,
    RetryPolicy,
    RewardClient,
)
from mmreward_client.testing import Fault, FaultPlan, LocalService

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


def test_first_model_is_pinned(local, make_client):
    """The first reply tells the fingerprint; from then on it is sent, and anything else raises."""
    client = make_client(local.url, pin="first", retries=QUICK)
    client.score(ITEMS)
    client.score(ITEMS)
    assert [asked.pin for asked in local.asked] == [None, "local-service"]
    local.script(Fault("other_model"))
    with pytest.raises(PinMismatch, match="exchanged"):
        client.score(ITEMS)
    local.fingerprint = "new weights"
    with pytest.raises(PinMismatch) as caught:
        client.pairs([{"prompt": "q", "chosen": "a", "rejected": "b"}])
    assert caught.value.status == 409
    assert len(local.asked) == 4
    assert client.score(ITEMS, pin="new weights").data


def test_first_is_no_word_for_a_single_call(local, make_client):
    """A call has no first reply to remember: it takes a fingerprint, and says so."""
    with pytest.raises(InvalidInput, match="for a client"):
        make_client(local.url).score(ITEMS, pin="first")
    assert not local.asked


def test_every_replica_has_to_be_that_model(make_client):
    """A replica with other weights stops the run at its first reply."""
    with LocalService() as one, LocalService(fingerprint="other") as other:
        client = make_client(urls=[one.url, other.url], pin="first")
        client.score(ITEMS)
        with pytest.raises(PinMismatch):
            client.score(ITEMS)


def test_calls_that_were_first_together_must_agree():
    """Nothing was known when they were sent; one of two models is refused all the same."""
    faults = FaultPlan([Fault("slow", seconds=0.3), Fault("slow", seconds=0.3)])
    with (
        LocalService(faults=faults) as one,
        LocalService(faults=[Fault("slow", seconds=0.3)], fingerprint="other") as other,
        RewardClient(urls=[one.url, other.url], pin="first") as client,
        ThreadPoolExecutor(2) as pool,
    ):
        calls = [pool.submit(client.score, ITEMS) for _ in range(2)]
        errors = [type(call.exception()) for call in calls]
    assert sorted(errors, key=str) == sorted([type(None), PinMismatch], key=str)


def test_streams_are_pinned(local, make_client):
    """A stream tells the fingerprint as well, and is refused like any other call."""
    client = make_client(local.url, pin="first")
    client.stream_all(ITEMS)
    local.fingerprint = "new weights"
    with pytest.raises(PinMismatch) as caught:
        client.stream_all(ITEMS)
    assert caught.value.status == 409


def test_workers_insist_on_the_same_model(local):
    """What was learned travels with a pickle; before it was learned, the wish does."""
    with RewardClient(local.url, pin="first") as client:
        with pickle.loads(pickle.dumps(client)) as twin:
            assert twin.pin is None
        client.score(ITEMS)
        with pickle.loads(pickle.dumps(client)) as twin:
            assert twin.pin == "local-service"
            local.fingerprint = "new weights"
            with pytest.raises(PinMismatch):
                twin.score(ITEMS)
