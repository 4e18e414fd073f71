"""What a training step relies on, each property over real sockets and with real faults."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmreward_client import (
    AsyncRewardClient,
    AttemptBegun,
    CallDone,
    CallFailed,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    PinMismatch,
    ProtocolError,
    ReplicaDown,
    RetryPlanned,
    RetryPolicy,
    RewardClient,
)
from mmreward_client.testing import Fault, FaultPlan, LocalService

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


@pytest.fixture
def local():
    with LocalService() as service:
        yield service


def kinds(events):
    return [type(event).__name__ for event in events]


# One deadline over everything.


def test_retry_after_is_waited_and_told(local, make_client):
    """The pause that the service asks for is made, and the hook knows how long it was."""
    events = []
    local.script(Fault("overloaded", retry_after_s=1))
    begun = time.monotonic()
    make_client(local.url, retries=QUICK, on_event=events.append).score(ITEMS)
    assert time.monotonic() - begun >= 1.0
    assert kinds(events) == ["AttemptBegun", "RetryPlanned", "AttemptBegun", "CallDone"]
    assert 1.0 <= events[1].wait_s == events[3].waited_s <= 1.01
    assert type(events[1].error) is Overloaded


def test_no_pause_beyond_the_deadline(local, make_client):
    """A pause that would outlast the call is not begun."""
    local.script(*[Fault("overloaded", retry_after_s=60)] * 3)
    begun = time.monotonic()
    with pytest.raises(Overloaded):
        make_client(local.url, timeout_s=30.0).score(ITEMS)
    assert time.monotonic() - begun < 20.0
    assert len(local.asked) == 1


def test_the_service_is_told_what_is_left(local, make_client):
    """Each attempt carries the remaining time, less what the way back may take."""
    local.script(Fault("overloaded", retry_after_s=1))
    make_client(local.url, retries=QUICK, timeout_s=30.0).score(ITEMS)
    first, second = (asked.deadline_ms for asked in local.asked)
    # A fifth is kept for the way back, at most 5 s.
    assert second <= first - 800
    assert 20_000 < first <= 25_000


@pytest.mark.parametrize("fault", [Fault("silent"), Fault("drip", seconds=0.05)])
def test_a_call_ends_at_its_deadline(local, make_client, fault):
    """Silence and drops of bytes alike; attempts before it count."""
    local.script(Fault("overloaded", retry_after_s=None), fault)
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        make_client(local.url, retries=QUICK).score(ITEMS, timeout_s=0.5)
    assert time.monotonic() - begun < 5.0


def test_a_slow_upload_ends_at_the_deadline(make_client):
    """A network that takes the pictures too slowly does not make the call longer."""
    stopping = threading.Event()

    def sip(listener):
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                while not stopping.wait(0.05) and connection.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Small, so that the kernel does not take the whole body at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=sip, args=(listener,))
        thread.start()
        big = {"prompt": "q", "response": "x" * 12_000_000}
        client = make_client(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=QUICK)
        begun = time.monotonic()
        try:
            with pytest.raises(DeadlineExceeded):
                client.score([big], timeout_s=1.0)
            # At 4096 bytes in 0.05 s the body would take more than two minutes.
            assert time.monotonic() - begun < 6.0
        finally:
            stopping.set()
            listener.close()
            thread.join()


def test_waiting_for_a_connection_counts(local):
    """A call that gets no turn ends at its own deadline, not after that of the others."""
    local.script(Fault("slow", seconds=2.0))
    with RewardClient(local.url, max_connections=1) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.score, ITEMS)
        while not local.asked:
            time.sleep(0.005)
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.score(ITEMS, timeout_s=0.3)
        assert time.monotonic() - begun < 1.7
        assert len(slow.result().data) == 3


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_process_group(kind):
    """A call that could outlast the process group is refused: at construction, and call by call."""
    with pytest.raises(ValueError, match="timeout_s 600 is not smaller than process_group"):
        kind(process_group_timeout_s=600)
    with pytest.raises(ValueError, match="process_group_timeout_s must be"):
        kind(timeout_s=1, process_group_timeout_s=0)
    assert kind(timeout_s=599, process_group_timeout_s=600).config.timeout_s == 599


def test_process_group_of_a_call(local, make_client):
    """Also where a single call asks for more time; nothing is sent then."""
    client = make_client(local.url, timeout_s=10, process_group_timeout_s=20)
    with pytest.raises(ValueError, match="not smaller"):
        client.score(ITEMS, timeout_s=20)
    assert not local.asked
    assert client.score(ITEMS, timeout_s=19).data


# Retries, where they are safe.


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


# Replicas.


def test_the_least_busy_replica_is_next():
    """While one replica sits on a request, all others go to the idle one."""
    with LocalService() as busy, LocalService() as idle:
        busy.script(Fault("slow", seconds=0.8))
        with RewardClient(urls=[busy.url, idle.url]) as client, ThreadPoolExecutor(1) as pool:
            slow = pool.submit(client.score, ITEMS)
            while not busy.asked:
                time.sleep(0.005)
            for _ in range(5):
                client.score(ITEMS)
            slow.result()
        assert (len(busy.asked), len(idle.asked)) == (1, 5)


def test_fail_over_and_its_events(make_client):
    """A killed replica costs no call: the other one answers, and the log knows why."""
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
    with LocalService(latency_s=0.03) as service:
        with RewardClient(service.url, max_connections=3) as client, ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: client.score(ITEMS), range(24)))
        assert service.most_in_flight == 3

        async def tasks():
            async with AsyncRewardClient(service.url, max_connections=2) as client:
                await asyncio.gather(*(client.score(ITEMS) for _ in range(12)))

        service.most_in_flight = 0
        asyncio.run(tasks())
        assert service.most_in_flight == 2


# One model for the whole run.


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


# The trainer's own log.


def test_events_of_a_call(local, make_client):
    """Attempt and end of a call, with times, counts by status and where the numbers come from."""
    events = []
    local.script(Fault("null", status="unparsed"))
    make_client(local.url, on_event=events.append).score(ITEMS)
    begun, done = events
    assert isinstance(begun, AttemptBegun)
    assert (begun.url, begun.number, begun.path) == (local.url, 1, "/v1/score")
    assert isinstance(done, CallDone)
    assert (done.items, done.nulls, done.statuses) == (3, 3, {"unparsed": 3})
    assert done.fingerprint == "local-service"
    assert done.request_id == begun.request_id == local.asked[0].request_id
    assert done.seconds > 0
    assert done.timings is not None


def test_events_of_pairs_groups_and_streams(local, make_client):
    """Nulls are missing margins, missing scores of responses, and counted in streams, too."""
    events = []
    client = make_client(local.url, on_event=events.append)
    local.script(Fault("null"), Fault("null"), Fault("null"))
    client.pairs([{"prompt": "q", "chosen": "a", "rejected": "b"}])
    client.groups([{"prompt": "q", "responses": ["a", "b", "c"]}])
    client.stream_all(ITEMS)
    ends = [event for event in events if isinstance(event, CallDone)]
    assert [(end.path, end.nulls) for end in ends] == [
        ("/v1/pairs", 1),
        ("/v1/groups", 3),
        ("/v1/score", 3),
    ]


def test_a_failed_call_is_told(local, make_client):
    """With the error that is raised, and how many attempts it took."""
    events = []
    local.script(*[Fault("overloaded", retry_after_s=None)] * 4)
    client = make_client(local.url, retries=QUICK, on_event=events.append)
    with pytest.raises(Overloaded) as caught:
        client.score(ITEMS)
    assert isinstance(events[-1], CallFailed)
    assert events[-1].error is caught.value
    assert events[-1].attempts == 4
    assert kinds(events).count("RetryPlanned") == 3


def test_a_hook_may_end_the_run(local, make_client):
    """What a hook raises comes out of the call, and the client can be used again."""

    def hook(event):
        if isinstance(event, CallDone) and event.nulls:
            raise RuntimeError("too many failures")

    local.script(Fault("null"))
    client = make_client(local.url, on_event=hook)
    with pytest.raises(RuntimeError, match="too many"):
        client.score(ITEMS)
    assert client.score(ITEMS).data


def test_a_hook_stays_behind_in_a_pickle(local):
    """A log of this process is no log of another; everything else travels, the key too."""
    with RewardClient(local.url, api_key="sk-1", on_event=lambda event: None) as client:
        content = pickle.dumps(client)
    with pickle.loads(content) as twin:
        assert twin.on_event is None
        assert twin.config.api_key == "sk-1"
        assert "sk-1" not in repr(twin)


# Forked workers.


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
