"""`AsyncRewardClient`: the client for an event loop.

Many calls may run at once; `max_connections` bounds how many are on the wire. Images are encoded
in a thread, so a large one does not hold up the loop. Pickling carries the settings alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from mmreward_client.async_connections import AsyncConnections
from mmreward_client.config import ClientOptions, call_timeout_s, make_config, seconds_left
from mmreward_client.errors import DeadlineExceeded
from mmreward_client.events import CallWatch, Hook
from mmreward_client.exchange import (
    Call,
    Opponents,
    Options,
    ReplyT,
    ResultT,
    groups_call,
    pairs_call,
    parse_model,
    parse_object,
    parse_reply,
    score_call,
)
from mmreward_client.pinning import Pin
from mmreward_client.readiness import Readiness, reason_not_ready
from mmreward_client.schema import (
    Aggregate,
    Beta,
    GroupResult,
    GroupsReply,
    Kind,
    ModelList,
    Orders,
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
        on_event: told what happens, for the caller's own log: see `events.py`.
        options: api_key, timeout_s, connect_timeout_s, silence_timeout_s, retries, pin,
            max_connections, process_group_timeout_s: see `ClientConfig`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        on_event: Hook | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self.config = make_config(url, options)
        self.on_event = on_event
        self._pin = Pin(self.config.pin)
        self._connections = AsyncConnections(self.config, transport)

    async def score(self, items: Iterable[Any], **options: Unpack[Options]) -> ScoreReply:
        """Score responses, one result per item in the order of the items.

        Args:
            items: mappings, `ScoreInput` or similar, with `images` in any form of `images.py`.
            options: model, critiques (K), temperature, seed, max_critique_tokens, pin, timeout_s.

        Raises:
            RewardError: the call as a whole failed; see `errors.py`.
        """
        return await self._reply(*await self._score_call(items, options))

    async def pairs(
        self,
        items: Iterable[Any],
        *,
        beta: Beta | Mapping[str, Any] | None = None,
        kind: Kind | None = None,
        **options: Unpack[Options],
    ) -> PairsReply:
        """Score pairs: both scores, delta, its probability and MM-DPO's beta.

        Args:
            items: mappings, `PairInput` or similar.
            beta: constants of the formula, such as `{"w": 0.5, "basis": "calibrated"}`.
            kind: `judge` compares the two responses with each other, in both orders; `critique`
                scores each by itself. None: what the model is, critique where it is both.
            options: as of `score`.
        """
        return await self._reply(*await self._pairs_call(items, options, beta, kind))

    async def groups(
        self,
        items: Iterable[Any],
        *,
        orders: Orders | None = None,
        comparisons: Opponents | None = None,
        aggregate: Aggregate | None = None,
        **options: Unpack[Options],
    ) -> GroupsReply:
        """Compare the responses of each group with each other: a score for each of them.

        Args:
            items: mappings, `GroupInput` or similar: `prompt`, `responses`, `images` or `video`,
                and `complete`, one entry per response.
            orders: `both` judges every two responses in both orders, `balanced` once, each of
                them first in half of its comparisons.
            comparisons: `all`, or K opponents for each response, in a ring.
            aggregate: how comparisons become scores: `mean`, `additive`, `win_rate`,
                `bradley_terry`.
            options: as of `score`; `critiques` is per comparison.

        Returns:
            For each group `scores` and `scores_from`, always with one entry per response: None
            and 0 for a response without a good comparison.

        Raises:
            ProtocolError: a group that is not the one that was sent.
            RewardError: the call as a whole failed; see `errors.py`.
        """
        return await self._reply(
            *await self._groups_call(items, options, orders, comparisons, aggregate)
        )

    async def stream_score(
        self, items: Iterable[Any], **options: Unpack[Options]
    ) -> AsyncResultStream[ScoreReply, ScoreResult]:
        """Like `score`, each result as soon as it is there, in order of finishing."""
        return self._stream(*await self._score_call(items, options))

    async def stream_pairs(
        self,
        items: Iterable[Any],
        *,
        beta: Beta | Mapping[str, Any] | None = None,
        kind: Kind | None = None,
        **options: Unpack[Options],
    ) -> AsyncResultStream[PairsReply, PairResult]:
        """Like `pairs`, each result as soon as it is there, in order of finishing."""
        return self._stream(*await self._pairs_call(items, options, beta, kind))

    async def stream_groups(
        self,
        items: Iterable[Any],
        *,
        orders: Orders | None = None,
        comparisons: Opponents | None = None,
        aggregate: Aggregate | None = None,
        **options: Unpack[Options],
    ) -> AsyncResultStream[GroupsReply, GroupResult]:
        """Like `groups`, each group as soon as it is there, in order of finishing."""
        return self._stream(
            *await self._groups_call(items, options, orders, comparisons, aggregate)
        )

    @property
    def pin(self) -> str | None:
        """The fingerprint insisted on; with `pin="first"`, None until the first reply told it."""
        return self._pin.fingerprint

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
        # The hook stays behind: it belongs to the log of this process.
        return {"config": self.config, "pin": self._pin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.config = state["config"]
        self._pin = state["pin"]
        self.on_event = None
        self._connections = AsyncConnections(self.config)

    async def _score_call(
        self, items: Iterable[Any], options: Options
    ) -> tuple[Call[ScoreReply, ScoreResult], float]:
        return await self._built(lambda: score_call(items, options, pin=self.pin), options)

    async def _pairs_call(
        self,
        items: Iterable[Any],
        options: Options,
        beta: Beta | Mapping[str, Any] | None,
        kind: Kind | None,
    ) -> tuple[Call[PairsReply, PairResult], float]:
        return await self._built(
            lambda: pairs_call(items, options, pin=self.pin, beta=beta, kind=kind), options
        )

    async def _groups_call(
        self,
        items: Iterable[Any],
        options: Options,
        orders: Orders | None,
        comparisons: Opponents | None,
        aggregate: Aggregate | None,
    ) -> tuple[Call[GroupsReply, GroupResult], float]:
        return await self._built(
            lambda: groups_call(
                items,
                options,
                pin=self.pin,
                orders=orders,
                comparisons=comparisons,
                aggregate=aggregate,
            ),
            options,
        )

    async def _built(
        self, build: Callable[[], Call[ReplyT, ResultT]], options: Options
    ) -> tuple[Call[ReplyT, ResultT], float]:
        """The call, built in a thread, and how many seconds are left for it.

        Raises:
            DeadlineExceeded: the total time was over first, as where no thread was free.
        """
        timeout_s = call_timeout_s(self.config, options.get("timeout_s"))
        ends_at = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s) as clock:
                call = await asyncio.to_thread(build)
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise DeadlineExceeded(
                f"the request was not built within {timeout_s:g} s", code="client_deadline"
            ) from error
        return call, seconds_left(ends_at)

    async def _reply(self, call: Call[ReplyT, Any], timeout_s: float) -> ReplyT:
        with CallWatch(self.on_event, call.path) as watch:
            content = await self._connections.fetch(
                "POST", call.path, call.content, timeout_s, watch
            )
            reply = parse_reply(call, content)
            self._pin.learn(reply.provenance.fingerprint, asked=call.pin)
            watch.done(reply)
            return reply

    def _stream(
        self, call: Call[ReplyT, ResultT], timeout_s: float
    ) -> AsyncResultStream[ReplyT, ResultT]:
        reader = StreamReader(call)
        return AsyncResultStream(reader, self._results(call, reader, timeout_s))

    async def _results(
        self, call: Call[ReplyT, ResultT], reader: StreamReader[ReplyT, ResultT], timeout_s: float
    ) -> AsyncGenerator[ResultT, None]:
        with CallWatch(self.on_event, call.path) as watch:
            lines = self._connections.lines(call.path, call.content, timeout_s, watch)
            async with contextlib.aclosing(lines):
                async for line in lines:
                    result = reader.feed(line)
                    if result is not None:
                        yield result
            reply = reader.finish()
            self._pin.learn(reply.provenance.fingerprint, asked=call.pin)
            watch.done(reply)

    async def _get(self, path: str) -> bytes:
        with CallWatch(self.on_event, path) as watch:
            content = await self._connections.fetch(
                "GET", path, lambda _: b"", self.config.timeout_s, watch
            )
            watch.done()
            return content
