"""The life of a call as a table of steps, with a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    RetryPolicy,
    RewardError,
    ServerError,
    TransportError,
)
from mmreward_client.attempts import Answer, Done, Failure, Send, Sleep, attempts
from mmreward_client.events import CallWatch
from mmreward_client.replicas import COOL_DOWN_S, Replicas

GOOD = Answer(200, {})
DROPPED = Failure("dropped")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def run(replicas, clock, outcome_of, *, retries=3, timeout_s=60.0, takes_s=0.0):
    """Carry out the steps; `outcome_of(number, send)` is what comes of each attempt."""
    steps = attempts(
        replicas,
        policy=RetryPolicy(retries=retries, base_s=1.0),
        timeout_s=timeout_s,
        watch=CallWatch(None, "/v1/score"),
        clock=clock,
        uniform=lambda low, high: high,
    )
    log = []
    try:
        step = next(steps)
        while True:
            log.append(step)
            if isinstance(step, Sleep):
                clock.now += step.seconds
                step = steps.send(None)
            else:
                clock.now += takes_s
                number = sum(isinstance(s, Send) for s in log) - 1
                step = steps.send(outcome_of(number, step))
    except StopIteration as stop:
        return log, stop.value
    except RewardError as error:
        return log, error


def test_waits_grow_and_the_deadline_shrinks():
    """Each attempt may take what is left; pauses are the retry table's."""
    clock = Clock()
    log, done = run(Replicas(["a"], clock=clock), clock, lambda n, _: GOOD if n == 2 else DROPPED)
    assert log == [Send("a", 60.0), Sleep(1.0), Send("a", 59.0), Sleep(2.0), Send("a", 57.0)]
    assert done == Done(GOOD, "a")


def test_the_last_error_is_the_one_raised():
    """After the last attempt its own error is raised, not a summary."""
    clock = Clock()
    outcomes = [DROPPED, Answer(429, {}, b"busy"), Answer(503, {}, b"loading")]
    _, error = run(Replicas(["a"], clock=clock), clock, lambda n, _: outcomes[n], retries=2)
    assert type(error) is NotReady
    assert "loading" in str(error)


def test_out_of_time_is_not_retried():
    """When the attempt used the time up, there is none for another."""
    clock = Clock()
    late = Failure("silence", out_of_time=True)
    log, error = run(Replicas(["a"], clock=clock), clock, lambda n, _: late, takes_s=60.0)
    assert len(log) == 1
    assert isinstance(error, DeadlineExceeded)


def test_retry_after_beyond_the_deadline():
    """No pause is begun that would outlast the call."""
    clock = Clock()
    busy = Answer(429, {"retry-after": "61"})
    log, error = run(Replicas(["a"], clock=clock), clock, lambda n, _: busy)
    assert len(log) == 1
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 61


def test_every_replica_before_a_pause():
    """A round over all replicas is one attempt; only then comes a pause."""
    clock = Clock()
    replicas = Replicas(["a", "b", "c"], clock=clock)
    log, error = run(replicas, clock, lambda n, _: DROPPED, retries=1)
    assert [type(step) for step in log] == [Send] * 3 + [Sleep] + [Send] * 3
    assert {s.base_url for s in log[:3]} == {s.base_url for s in log[4:]} == {"a", "b", "c"}
    assert isinstance(error, TransportError)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500, 504])
def test_an_answer_about_the_request_goes_nowhere_else(status):
    """What is wrong with the request is wrong with it on every replica."""
    clock = Clock()
    replicas = Replicas(["a", "b"], clock=clock)
    log, _ = run(replicas, clock, lambda n, _: Answer(status, {}, b"no"), retries=0)
    assert len(log) == 1


def test_one_500_of_a_call_is_tried_again_whatever_failed_before():
    """A service that starts again says 503 first, and may have one fault; two are the input's."""
    clock = Clock()
    outcomes = [Answer(503, {}), Answer(500, {}), Answer(503, {}), GOOD]
    _, done = run(Replicas(["a"], clock=clock), clock, lambda n, _: outcomes[n], retries=9)
    assert done == Done(GOOD, "a")
    outcomes = [Answer(503, {}), Answer(500, {}), Answer(503, {}), Answer(500, {}), GOOD]
    log, error = run(Replicas(["a"], clock=clock), clock, lambda n, _: outcomes[n], retries=9)
    assert isinstance(error, ServerError)
    assert sum(isinstance(step, Send) for step in log) == 4


def test_no_fail_over_without_retries():
    """retries=0 means one request, whatever happens."""
    clock = Clock()
    log, _ = run(Replicas(["a", "b"], clock=clock), clock, lambda n, _: DROPPED, retries=0)
    assert len(log) == 1


@given(st.lists(st.sampled_from([GOOD, DROPPED, Answer(429, {}), Answer(400, {})]), min_size=9))
def test_counts_are_balanced(outcomes):
    """However a call ends, only a good answer that is still being read is counted."""
    clock = Clock()
    replicas = Replicas(["a", "b"], clock=clock)
    _, ended = run(replicas, clock, lambda n, _: outcomes[n % len(outcomes)])
    expected = 1 if isinstance(ended, Done) else 0
    assert sum(replicas.outstanding.values()) == expected
    if isinstance(ended, Done):
        replicas.release(ended.base_url)
    assert set(replicas.outstanding.values()) == {0}


def test_interrupted_call_is_not_counted():
    """An exception in the middle of an attempt (Ctrl-C, cancellation) gives the replica back."""
    replicas = Replicas(["a"])
    steps = attempts(
        replicas,
        policy=RetryPolicy(),
        timeout_s=1.0,
        watch=CallWatch(None, "/v1/score"),
        clock=lambda: 0.0,
    )
    next(steps)
    assert replicas.outstanding == {"a": 1}
    steps.close()
    assert replicas.outstanding == {"a": 0}


def test_least_outstanding_first():
    """The replica with the fewest unanswered requests is next; equals take turns."""
    replicas = Replicas(["a", "b", "c"])
    assert [replicas.acquire() for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    replicas.release("b")
    assert replicas.acquire() == "b"


def test_unreachable_replicas_rest():
    """One that could not be reached is last until its rest is over or it answers again."""
    clock = Clock()
    replicas = Replicas(["a", "b"], clock=clock)
    replicas.report("a", reachable=False)
    picks = [replicas.acquire() for _ in range(3)]
    assert picks == ["b", "b", "b"]
    assert replicas.acquire(avoid={"b"}) == "a"
    clock.now += COOL_DOWN_S
    assert replicas.acquire() == "a"
    replicas.report("b", reachable=False)
    replicas.report("b", reachable=True)
    for _ in range(2):
        replicas.release("b")
    assert replicas.acquire() == "b"
