"""`connections.py` for an event loop: the same steps of `attempts.py`, awaited.

Connections belong to the process and the event loop that opened them; a client used in a second
`asyncio.run` opens its own. Time limits are cancellations, so no drip of bytes outlasts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx2

from mmreward_client.attempts import Answer, Done, Failure, Outcome, Send, Sleep, attempts
from mmreward_client.config import ClientConfig
from mmreward_client.connections import Content
from mmreward_client.events import CallWatch, new_request_id
from mmreward_client.network import (
    TimeLeft,
    failure_of,
    headers_of,
    limits_of,
    pieces,
    stream_error,
)
from mmreward_client.replicas import Replicas
from mmreward_client.stream import NDJSON, Lines


class AsyncConnections:
    """The connections of one client, to all replicas, for all tasks of one event loop."""

    def __init__(
        self, config: ClientConfig, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        self._transport = transport
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._client: httpx2.AsyncClient | None = None
        self.replicas = Replicas(config.urls)

    async def fetch(
        self, method: str, path: str, content: Content, timeout_s: float, watch: CallWatch
    ) -> bytes:
        """Send a request until it is answered well; its whole body.

        Raises:
            RewardError: the last failure.
        """

        async def send(step: Send) -> Answer | Failure:
            return await self._exchange(method, path, content, step, watch.request_id)

        done = await self._drive(send, timeout_s, watch)
        self.replicas.release(done.base_url)
        return done.answer.content

    async def lines(
        self, path: str, content: Content, timeout_s: float, watch: CallWatch
    ) -> AsyncGenerator[bytes, None]:
        """Send a request until its answer begins well; then the lines of its body as they come."""
        request_id = watch.request_id
        ends_at = time.monotonic() + timeout_s

        async def send(step: Send) -> Answer | Failure:
            try:
                async with _cut_off(ends_at):
                    response = await self._open(
                        "POST", path, content, step, request_id, accept=NDJSON
                    )
                    if response.is_success:
                        response.request.extensions["timeout"].lift()
                        return Answer(response.status_code, response.headers, response=response)
                    async with contextlib.aclosing(response):
                        return await _read(response)
            except httpx2.HTTPError as error:
                return failure_of(error, step, ends_at)

        done = await self._drive(send, timeout_s, watch)
        lines = Lines()
        try:
            async with contextlib.aclosing(done.answer.response) as response:
                chunks = response.aiter_bytes()
                while True:
                    async with _cut_off(ends_at):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for line in lines.feed(chunk):
                        yield line
        except httpx2.HTTPError as error:
            raise stream_error(error, done.base_url, timeout_s, request_id) from error
        finally:
            self.replicas.release(done.base_url)
        yield lines.close()

    async def ask_once(self, base_url: str, path: str, timeout_s: float) -> Answer | Failure:
        """One GET to one replica, without retrying."""
        step = Send(base_url, timeout_s)
        return await self._exchange("GET", path, lambda _: b"", step, new_request_id())

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._owner == (os.getpid(), asyncio.get_running_loop()):
            await client.aclose()

    async def _drive(
        self,
        send: Callable[[Send], Awaitable[Answer | Failure]],
        timeout_s: float,
        watch: CallWatch,
    ) -> Done:
        self._http()
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
                        await asyncio.sleep(step.seconds)
                    else:
                        outcome = await send(step)
                    step = steps.send(outcome)
            except StopIteration as stop:
                done: Done = stop.value
                return done

    async def _exchange(
        self, method: str, path: str, content: Content, step: Send, request_id: str
    ) -> Answer | Failure:
        ends_at = time.monotonic() + step.timeout_s
        try:
            async with _cut_off(ends_at):
                response = await self._open(method, path, content, step, request_id)
                async with contextlib.aclosing(response):
                    return await _read(response)
        except httpx2.HTTPError as error:
            return failure_of(error, step, ends_at)

    async def _open(
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
            content=_in_pieces(body) if body else None,
            headers=headers_of(self._config, request_id, accept, body),
        )
        request.extensions["timeout"] = TimeLeft(self._config, step, ends_at)
        return await client.send(request, stream=True)

    def _http(self) -> httpx2.AsyncClient:
        owner = (os.getpid(), asyncio.get_running_loop())
        if self._client is None or self._owner != owner:
            # What another loop or process opened cannot be closed from here; it is let go.
            self._client = httpx2.AsyncClient(
                transport=self._transport, limits=limits_of(self._config)
            )
            if self._owner is not None and self._owner[0] != owner[0]:
                self.replicas = Replicas(self._config.urls)
            self._owner = owner
        return self._client


async def _in_pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    """Each piece has the whole time of silence: of a large body sent at once, all had."""
    for piece in pieces(body):
        yield piece


async def _read(response: httpx2.Response) -> Answer:
    return Answer(response.status_code, response.headers, await response.aread())


@contextlib.asynccontextmanager
async def _cut_off(ends_at: float) -> AsyncGenerator[None, None]:
    """End what is inside at a moment of the monotonic clock, as a timeout of httpx2."""
    try:
        async with asyncio.timeout(ends_at - time.monotonic()):
            yield
    except TimeoutError as error:
        raise httpx2.ReadTimeout("no whole answer in time") from error
