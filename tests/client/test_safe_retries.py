"""What is sent again and what never; over real sockets with real faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from mmreward_client import (
    CallDone,
    ProtocolError,
    RetryPolicy,
    RewardClient,
)
from mmreward_client.testing import Fault, FaultPlan, LocalService

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


@pytest.mark.parametrize("kind", ["overloaded", "not_ready", "deadline", "internal", "drop"])
def test_passing_faults_are_retried(local, make_client, kind):
    """One fault, two attempts, one good answer."""
    local.script(Fault(kind, retry_after_s=None))
    assert len(make_client(local.url, retries=QUICK).score(ITEMS).data) == 3
    assert len(local.asked) == 2


@pytest.mark.parametrize("kind", ["malformed", "wrong_order", "wrong_length", "wrong_id"])
def test_broken_answers_are_not_retried(local, make_client, kind):
    """Who breaks the contract is not asked again: the next answer could be wrong unnoticed."""
    local.script(Fault(kind))
    with pytest.raises(ProtocolError):
        make_client(local.url, retries=QUICK).score(ITEMS)
    assert len(local.asked) == 1


def test_a_body_cut_in_the_middle_is_fetched_again(local, make_client):
    """Half an answer is no answer; the second one is whole."""
    local.script(Fault("drop_in_body"))
    assert len(make_client(local.url, retries=QUICK).score(ITEMS).data) == 3
    assert local.injected == {"drop_in_body": 1}


def test_a_storm():
    """Many threads against every passing fault at once: right numbers on the right items."""
    chances = dict.fromkeys(("overloaded", "not_ready", "drop", "drop_in_body", "null"), 0.1)
    with LocalService() as calm, RewardClient(calm.url) as client:
        truth = client.score(ITEMS).data
    plan = FaultPlan(chances={Fault(k, retry_after_s=None): p for k, p in chances.items()}, seed=3)
    done = []
    with (
        LocalService(faults=plan) as service,
        RewardClient(
            service.url, retries=RetryPolicy(30, 0.001, 0.01), on_event=done.append
        ) as client,
    ):
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: client.score(ITEMS, timeout_s=60), range(60)))
        assert service.in_flight == 0
    for reply in replies:
        for result, true in zip(reply.data, truth, strict=True):
            assert (result.id, result.score) in ((true.id, true.score), (true.id, None))
    nulls = sum(event.nulls for event in done if isinstance(event, CallDone))
    assert nulls == 3 * service.injected["null"] > 0
