"""`AsyncRewardClient`: the client for an event loop.

Many calls may run at once; `max_connections` bounds how many are on the wire. Images are encoded
in a thread, so a large one does not hold up the loop. Pickling carries the settings alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from mmreward_client.async_connections import AsyncConnections
from mmreward_client.config import ClientOptions, call_timeout_s, make_config
from mmreward_client.exchange import (
    Call,
    Options,
    ReplyT,
    ResultT,
    pairs_call,
    parse_model,
    parse_object,
    parse_reply,
    score_call,
)
from mmreward_client.readiness import Readiness, reason_not_ready
from mmreward_client.schema import (
    Beta,
    ModelList,
    PairResult,
    PairsReply,
    ScoreReply,
    ScoreResult,
)
from mmreward_client.stream import AsyncResultStream, StreamReader


class AsyncRewardClient:
    """A scoring service, from an event loop.

        async with AsyncRewardClient("http://127.0.0.1:8000") as client:
            item = {"images": ["cat.png"], "prompt": "What is it?", "response": "A cat."}
            print((await client.score([item])).data[0].score)

    Args:
        url: base address of the service; `urls=[...]` for several replicas.
        transport: replaces the network, for tests.
        options: api_key, timeout_s, connect_timeout_s, retries, pin, max_connections: see
            `ClientConfig`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self.config = make_config(url, options)
        self._connections = AsyncConnections(self.config, transport)

    async def score(self, items: Iterable[Any], **options: Unpack[Options]) -> ScoreReply:
        """Score responses, one result per item in the order of the items.

        Args:
            items: mappings, `ScoreInput` or similar, with `images` in any form of `images.py`.
            options: model, critiques (K), temperature, seed, max_critique_tokens, pin, timeout_s.

        Raises:
            RewardError: the call as a whole failed; see `errors.py`.
        """
        return await self._reply(await self._score_call(items, options), options)

    async def pairs(
        self,
        items: Iterable[Any],
        *,
        beta: Beta | Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> PairsReply:
        """Score pairs: both scores, delta, its probability and MM-DPO's beta.

        Args:
            items: mappings, `PairInput` or similar.
            beta: constants of the formula, such as `{"w": 0.5, "basis": "calibrated"}`.
            options: as of `score`.
        """
        return await self._reply(await self._pairs_call(items, options, beta), options)

    async def stream_score(
        self, items: Iterable[Any], **options: Unpack[Options]
    ) -> AsyncResultStream[ScoreReply, ScoreResult]:
        """Like `score`, each result as soon as it is there, in order of finishing."""
        return self._stream(await self._score_call(items, options), options)

    async def stream_pairs(
        self,
        items: Iterable[Any],
        *,
        beta: Beta | Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> AsyncResultStream[PairsReply, PairResult]:
        """Like `pairs`, each result as soon as it is there, in order of finishing."""
        return self._stream(await self._pairs_call(items, options, beta), options)

    async def models(self) -> ModelList:
        """The models with their provenance and every limit."""
        return parse_model(ModelList, await self._get("/v1/models"))

    async def version(self) -> dict[str, Any]:
        """What the service says of its own version."""
        return parse_object(await self._get("/version"))

    async def ready(self, *, timeout_s: float = 5.0) -> Readiness:
        """Ask every replica once, without retrying; an unreachable one is not ready."""
        urls = self.config.urls
        outcomes = await asyncio.gather(
            *(self._connections.ask_once(url, "/ready", timeout_s) for url in urls)
        )
        return Readiness(dict(zip(urls, map(reason_not_ready, outcomes), strict=True)))

    async def wait_until_ready(
        self, *, timeout_s: float = 600.0, interval_s: float = 0.5
    ) -> Readiness:
        """Ask until a replica is ready or the time is over; the last answer either way."""
        ends_at = time.monotonic() + timeout_s
        while True:
            readiness = await self.ready()
            if readiness or time.monotonic() + interval_s >= ends_at:
                return readiness
            await asyncio.sleep(interval_s)

    async def aclose(self) -> None:
        """Close the connections; using the client again opens new ones."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.config = state["config"]
        self._connections = AsyncConnections(self.config)

    async def _score_call(
        self, items: Iterable[Any], options: Options
    ) -> Call[ScoreReply, ScoreResult]:
        return await asyncio.to_thread(score_call, items, options, pin=self.config.pin)

    async def _pairs_call(
        self, items: Iterable[Any], options: Options, beta: Beta | Mapping[str, Any] | None
    ) -> Call[PairsReply, PairResult]:
        return await asyncio.to_thread(pairs_call, items, options, pin=self.config.pin, beta=beta)

    async def _reply(self, call: Call[ReplyT, Any], options: Options) -> ReplyT:
        timeout_s = call_timeout_s(self.config, options.get("timeout_s"))
        content = await self._connections.fetch("POST", call.path, call.content, timeout_s)
        return parse_reply(call, content)

    def _stream(
        self, call: Call[ReplyT, ResultT], options: Options
    ) -> AsyncResultStream[ReplyT, ResultT]:
        timeout_s = call_timeout_s(self.config, options.get("timeout_s"))
        reader = StreamReader(call)
        return AsyncResultStream(reader, self._results(call, reader, timeout_s))

    async def _results(
        self, call: Call[ReplyT, ResultT], reader: StreamReader[ReplyT, ResultT], timeout_s: float
    ) -> AsyncGenerator[ResultT, None]:
        lines = self._connections.lines(call.path, call.content, timeout_s)
        async with contextlib.aclosing(lines):
            async for line in lines:
                result = reader.feed(line)
                if result is not None:
                    yield result
        reader.finish()

    async def _get(self, path: str) -> bytes:
        return await self._connections.fetch("GET", path, lambda _: b"", self.config.timeout_s)
