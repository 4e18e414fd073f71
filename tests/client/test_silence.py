"""Replicas that take a request and never answer: given up in time, and another one is asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from client_kit import envelope, score_entry
from mmreward_client import (
    DeadlineExceeded,
    ReplicaDown,
    RetryPlanned,
    RetryPolicy,
    RewardClient,
    TransportError,
)
from mmreward_client.attempts import Answer, Failure, Send, attempts
from mmreward_client.events import CallWatch
from mmreward_client.replicas import COOL_DOWN_S, Replicas
from mmreward_client.testing import Fault, LocalService

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """Takes connections and reads nothing of them, as a process that was stopped does."""
    stopping = threading.Event()

    def accept(listener: socket.socket) -> None:
        kept = []
        with contextlib.suppress(OSError):
            while not stopping.is_set():
                kept.append(listener.accept()[0])
        for connection in kept:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Small, so that a body of a megabyte does not fit into what nobody reads.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopping.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


# The good one reads the long body within the time, also where much else is going on.
@pytest.mark.parametrize("length", [10, 10_000_000])
def test_another_replica_is_asked(make_client, length):
    """It is the answer that does not come, or the body that is not taken; the hook is told."""
    events = []
    item = {"prompt": "q", "response": "x" * length}
    with deaf() as silent, LocalService() as good:
        client = make_client(
            urls=[silent, good.url], silence_timeout_s=2.5, retries=QUICK, timeout_s=60.0,
            on_event=events.append,
        )  # fmt: skip
        assert client.score([item]).data[0].status == "ok"
        assert len(good.asked) == 1
    (planned,) = (event for event in events if isinstance(event, RetryPlanned))
    assert (planned.url, planned.wait_s) == (silent, 0.0)
    assert "no byte within 2.5 s" in str(planned.error)
    (down,) = (event for event in events if isinstance(event, ReplicaDown))
    assert (down.url, down.rest_s) == (silent, COOL_DOWN_S)


def test_by_default_a_silent_replica_costs_half_a_call(make_client):
    """The other one gets the rest; nobody had to ask for that."""
    with deaf() as silent, LocalService() as good:
        client = make_client(urls=[silent, good.url], retries=QUICK, timeout_s=4.0)
        begun = time.monotonic()
        assert client.score(ITEMS).data[0].status == "ok"
        assert time.monotonic() - begun >= 2.0
        # What is left of the call, less a fifth for the way back.
        assert good.asked[0].deadline_ms <= 1600


def test_the_same_replica_is_asked_again(local, make_client):
    """Behind one address there may be several processes, and a lost request is lost only once."""
    local.script(Fault("silent"))
    client = make_client(local.url, silence_timeout_s=0.3, retries=QUICK, timeout_s=60.0)
    assert client.score(ITEMS).data[0].status == "ok"
    assert [asked.fault is None for asked in local.asked] == [False, True]


def test_without_retries_silence_is_the_end(local, make_client):
    """It is told as what it is: not the deadline of the call."""
    local.script(Fault("silent"))
    client = make_client(local.url, silence_timeout_s=0.3, retries=0, timeout_s=60.0)
    with pytest.raises(TransportError, match=r"no byte within 0\.3 s"):
        client.score(ITEMS)


def test_one_replica_has_the_whole_call(local, make_client):
    """Where nobody else could be asked nothing is cut."""
    local.script(Fault("silent", seconds=0.7))
    client = make_client(local.url, retries=QUICK, timeout_s=1.2)
    assert client.score(ITEMS).data[0].status == "ok"
    local.script(Fault("silent"))
    with pytest.raises(DeadlineExceeded, match="no answer within 1"):
        client.score(ITEMS)
    assert len(local.asked) == 2


def test_a_body_that_stops_midway(make_client):
    """Silence inside of a plain reply is silence; a drip is none."""
    with LocalService() as first, LocalService() as second:
        first.script(Fault("drip", seconds=5.0))
        second.script(Fault("drip", seconds=0.001))
        client = make_client(
            urls=[first.url, second.url], silence_timeout_s=0.5, retries=QUICK, timeout_s=60.0
        )
        assert client.score(ITEMS).data[0].status == "ok"
        assert (len(first.asked), len(second.asked)) == (1, 1)


@contextlib.contextmanager
def pausing(seconds: float) -> Iterator[str]:
    """Begins a stream at once, and sends its only item after a while."""
    item = {"response": "a"}
    entry = score_entry(0, item)
    last = {name: value for name, value in envelope([]).items() if name != "data"}
    body = b"".join(json.dumps(line).encode() + b"\n" for line in (entry, last))

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                asked = b""
                while b"deadline_ms" not in asked:  # the last of the body
                    asked += connection.recv(2**20)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                time.sleep(seconds)
                connection.sendall(body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_stream_may_pause_once_it_has_begun(make_client):
    """Before it begins another replica is asked; then its items take what they take."""
    with deaf() as silent, pausing(1.0) as slow:
        client = make_client(
            urls=[silent, slow], silence_timeout_s=0.4, retries=QUICK, timeout_s=60.0
        )
        results, reply = client.stream_all([{"prompt": "q", "response": "a"}])
    assert [one.status for one in results] == ["ok"] == [one.status for one in reply.data]


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_it_is_a_time(seconds):
    """Refused at construction."""
    with pytest.raises(ValueError, match="silence_timeout_s"):
        RewardClient(silence_timeout_s=seconds)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def steps_of(replicas: Replicas, clock: Clock, **more):
    return attempts(
        replicas, policy=QUICK, timeout_s=100.0, watch=CallWatch(None, "/v1/score"), clock=clock,
        uniform=lambda low, high: high, **more,
    )  # fmt: skip


def test_the_last_hope_gets_all_of_the_rest():
    """Half of what is left, then half of that; a replica that is down is no hope."""
    clock = Clock()
    replicas = Replicas(["a", "b", "c", "d"], clock=clock)
    replicas.report("d", reachable=False, rest_s=1000.0)
    steps = steps_of(replicas, clock)
    step, asked = next(steps), []
    while isinstance(step, Send) and len(asked) < 4:
        asked.append(step)
        clock.now += step.silence_s or 0.0
        step = steps.send(Failure("silence", silent=True))
    assert asked[:3] == [Send("a", 100.0, 50.0), Send("b", 50.0, 25.0), Send("c", 25.0, None)]
    assert asked[3].base_url == "d"


def test_who_was_waited_for_in_vain_rests_as_long():
    """Or the next call would wait there again: it has the fewest unanswered requests."""
    clock = Clock()
    replicas = Replicas(["a", "b"], clock=clock)
    steps = steps_of(replicas, clock, silence_timeout_s=30.0)
    assert next(steps) == Send("a", 100.0, 30.0)
    clock.now = 30.0
    assert steps.send(Failure("silence", silent=True)) == Send("b", 70.0, 30.0)
    with pytest.raises(StopIteration):
        steps.send(Answer(200, {}))
    replicas.release("b")
    clock.now = 59.0
    assert replicas.acquire() == "b"
    replicas.release("b")
    clock.now = 60.0
    assert replicas.acquire() == "a"
