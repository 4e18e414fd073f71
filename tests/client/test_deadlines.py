"""One deadline over a whole call, whatever the other side does; over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmreward_client import (
    AsyncRewardClient,
    DeadlineExceeded,
    Overloaded,
    RetryPolicy,
    RewardClient,
    TransportError,
)
from mmreward_client.testing import Fault

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


def kinds(events):
    return [type(event).__name__ for event in events]


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
                while not stopping.wait(0.03) and connection.recv(2**16):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=sip, args=(listener,))
        thread.start()
        big = {"prompt": "q", "response": "x" * 12_000_000}
        client = make_client(f"http://127.0.0.1:{listener.getsockname()[1]}", retries=QUICK)
        begun = time.monotonic()
        try:
            with pytest.raises(DeadlineExceeded):
                client.score([big], timeout_s=1.0)
            # At 2 MB a second, and never at rest, the body would take six seconds and more.
            assert time.monotonic() - begun < 4.0
        finally:
            stopping.set()
            listener.close()
            thread.join()


@pytest.mark.parametrize("method", ["score", "stream_score"])
def test_waiting_for_a_thread_counts(local, method):
    """Where no thread is free to encode the pictures the call ends at its deadline, too."""
    leave = threading.Event()

    async def call():
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            loop.set_default_executor(pool)
            loop.run_in_executor(None, leave.wait, 20)
            async with AsyncRewardClient(local.url) as client:
                begun = time.monotonic()
                try:
                    await getattr(client, method)(ITEMS, timeout_s=0.3)
                finally:
                    seconds.append(time.monotonic() - begun)
                    leave.set()

    seconds = []
    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(call())
    assert caught.value.code == "client_deadline"
    assert seconds[0] < 10.0
    assert not local.asked


def test_encoding_counts(local, make_client):
    """What building the request takes is no longer there for the service."""

    def slowly():
        time.sleep(1.0)
        yield from ITEMS

    make_client(local.url).score(slowly(), timeout_s=11.0)
    # Of ten seconds at most a fifth is kept for the way back.
    assert local.asked[0].deadline_ms <= 8_000


def test_waiting_for_a_connection_counts(local):
    """A call that gets no turn ends at its own deadline, not after that of the others."""
    local.script(Fault("silent"))
    with (
        RewardClient(local.url, max_connections=1, retries=0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        silent = pool.submit(client.score, ITEMS, timeout_s=60.0)
        while not local.asked:
            time.sleep(0.005)
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.score(ITEMS, timeout_s=0.3)
        assert time.monotonic() - begun < 10.0
        assert not silent.done()
        local.stop()
        assert type(silent.exception()) is TransportError


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
