"""Blocking I/O: carries out the steps of `attempts.py` with httpx2, and nothing else.

Connections are opened on first use and belong to the process that opened them: a forked worker
that inherits a used object opens its own. Every wait ends with the time of the call, or earlier
with the silence that one attempt may keep: for a free connection, for the network to take the body,
for the answer, for each of its bytes. One gap is left: header bytes of an answer that drip in one
by one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator

import httpx2

from mmreward_client.attempts import Answer, Done, Failure, Outcome, Send, Sleep, attempts
from mmreward_client.config import ClientConfig
from mmreward_client.events import CallWatch, new_request_id
from mmreward_client.network import (
    TimeLeft,
    failure_of,
    headers_of,
    in_time,
    limits_of,
    stream_error,
)
from mmreward_client.replicas import Replicas
from mmreward_client.stream import NDJSON, Lines

Content = Callable[[float], bytes]
"""The body of an attempt, given the seconds that are left."""


class Connections:
    """The connections of one client, to all replicas, for all its threads."""

    def __init__(self, config: ClientConfig, transport: httpx2.BaseTransport | None = None) -> None:
        self._config = config
        self._transport = transport
        self.begin()
        _everywhere.add(self)

    def begin(self) -> None:
        """Start afresh, as after a fork.

        Neither locks nor connections survive one: another thread of the parent may hold the one,
        and the parent still talks over the other.
        """
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self.replicas = Replicas(self._config.urls)

    def fetch(
        self, method: str, path: str, content: Content, timeout_s: float, watch: CallWatch
    ) -> bytes:
        """Send a request until it is answered well; its whole body.

        Raises:
            RewardError: the last failure.
        """

        def send(step: Send) -> Answer | Failure:
            return self._exchange(method, path, content, step, watch.request_id)

        done = self._drive(send, timeout_s, watch)
        self.replicas.release(done.base_url)
        return done.answer.content

    def lines(
        self, path: str, content: Content, timeout_s: float, watch: CallWatch
    ) -> Generator[bytes, None, None]:
        """Send a request until its answer begins well; then the lines of its body as they come."""
        request_id = watch.request_id
        ends_at = time.monotonic() + timeout_s

        def send(step: Send) -> Answer | Failure:
            try:
                response = self._open("POST", path, content, step, request_id, accept=NDJSON)
                if response.is_success:
                    response.request.extensions["timeout"].lift()
                    return Answer(response.status_code, response.headers, response=response)
                with contextlib.closing(response):
                    return _read(response, ends_at)
            except httpx2.HTTPError as error:
                return failure_of(error, step, ends_at)

        done = self._drive(send, timeout_s, watch)
        lines = Lines()
        try:
            with contextlib.closing(done.answer.response) as response, _cut_off(response, ends_at):
                for chunk in response.iter_bytes():
                    yield from lines.feed(chunk)
        except httpx2.HTTPError as error:
            raise stream_error(error, done.base_url, timeout_s, request_id) from error
        finally:
            self.replicas.release(done.base_url)
        yield lines.close()

    def ask_once(self, base_url: str, path: str, timeout_s: float) -> Answer | Failure:
        """One GET to one replica, without retrying."""
        step = Send(base_url, timeout_s)
        return self._exchange("GET", path, lambda _: b"", step, new_request_id())

    def close(self) -> None:
        if self._pid == os.getpid() and self._client is not None:
            self._client.close()
            self._client = None

    def _drive(
        self, send: Callable[[Send], Answer | Failure], timeout_s: float, watch: CallWatch
    ) -> Done:
        steps = attempts(
            self.replicas,
            policy=self._config.retry,
            timeout_s=timeout_s,
            watch=watch,
            clock=time.monotonic,
            silence_timeout_s=self._config.silence_timeout_s,
        )
        with contextlib.closing(steps):
            try:
                step = next(steps)
                while True:
                    outcome: Outcome = None
                    if isinstance(step, Sleep):
                        time.sleep(step.seconds)
                    else:
                        outcome = send(step)
                    step = steps.send(outcome)
            except StopIteration as stop:
                done: Done = stop.value
                return done

    def _exchange(
        self, method: str, path: str, content: Content, step: Send, request_id: str
    ) -> Answer | Failure:
        ends_at = time.monotonic() + step.timeout_s
        try:
            response = self._open(method, path, content, step, request_id)
            with contextlib.closing(response):
                return _read(response, ends_at)
        except httpx2.HTTPError as error:
            return failure_of(error, step, ends_at)

    def _open(
        self,
        method: str,
        path: str,
        content: Content,
        step: Send,
        request_id: str,
        *,
        accept: str = "application/json",
    ) -> httpx2.Response:
        client = self._http()
        ends_at = time.monotonic() + step.timeout_s
        body = content(step.timeout_s)
        request = client.build_request(
            method,
            step.base_url + path,
            content=in_time(body, ends_at) if body else None,
            headers=headers_of(self._config, request_id, accept, body),
        )
        request.extensions["timeout"] = TimeLeft(self._config, step, ends_at)
        return client.send(request, stream=True)

    def _http(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx2.Client(
                    transport=self._transport, limits=limits_of(self._config)
                )
            return self._client


_everywhere: weakref.WeakSet[Connections] = weakref.WeakSet()


def _begin_everywhere() -> None:
    for connections in _everywhere:
        connections.begin()


# Before any thread of the child runs: two of them could not agree on who starts afresh.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_everywhere)


def _read(response: httpx2.Response, ends_at: float) -> Answer:
    with _cut_off(response, ends_at):
        return Answer(response.status_code, response.headers, response.read())


@contextlib.contextmanager
def _cut_off(response: httpx2.Response, ends_at: float) -> Iterator[None]:
    """End the reading of a body at a moment.

    A read timeout starts anew with every byte, so a body that drips would never time out. At the
    moment the socket is shut down under the reader, who then sees the end of it.
    """
    stream = response.extensions.get("network_stream")
    connected = None if stream is None else stream.get_extra_info("socket")
    if connected is None:
        yield  # not a network: a transport given for tests
        return
    is_cut = threading.Event()

    def cut() -> None:
        is_cut.set()
        # The plain socket's method: that of a TLS socket also forgets the session in mid-read.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, ends_at - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except httpx2.HTTPError as error:
        if is_cut.is_set():
            raise httpx2.ReadTimeout("the body did not end in time") from error
        raise
    finally:
        timer.cancel()
    if is_cut.is_set():
        raise httpx2.ReadTimeout("the body did not end in time")
