"""`RewardClient`: the blocking client.

Thread-safe; usable in forked workers; pickling carries the settings alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from mmreward_client.config import ClientOptions, call_timeout_s, make_config, seconds_left
from mmreward_client.connections import Connections
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
from mmreward_client.stream import ResultStream, StreamReader


class RewardClient:
    """A scoring service, from ordinary code.

        with RewardClient("http://127.0.0.1:8000") as client:
            item = {"images": ["cat.png"], "prompt": "What is it?", "response": "A cat."}
            print(client.score([item]).data[0].score)

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
        transport: httpx2.BaseTransport | None = None,
        on_event: Hook | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self.config = make_config(url, options)
        self.on_event = on_event
        self._pin = Pin(self.config.pin)
        self._connections = Connections(self.config, transport)

    def score(self, items: Iterable[Any], **options: Unpack[Options]) -> ScoreReply:
        """Score responses, one result per item in the order of the items.

        Args:
            items: mappings, `ScoreInput` or similar, with `images` in any form of `images.py`.
            options: model, critiques (K), temperature, seed, max_critique_tokens, pin, timeout_s.

        Raises:
            RewardError: the call as a whole failed; see `errors.py`.
        """
        ends_at = self._ends_at(options)
        return self._reply(score_call(items, options, pin=self.pin), ends_at)

    def pairs(
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
        ends_at = self._ends_at(options)
        return self._reply(pairs_call(items, options, pin=self.pin, beta=beta, kind=kind), ends_at)

    def groups(
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
        ends_at = self._ends_at(options)
        call = groups_call(
            items,
            options,
            pin=self.pin,
            orders=orders,
            comparisons=comparisons,
            aggregate=aggregate,
        )
        return self._reply(call, ends_at)

    def stream_score(
        self, items: Iterable[Any], **options: Unpack[Options]
    ) -> ResultStream[ScoreReply, ScoreResult]:
        """Like `score`, each result as soon as it is there, in order of finishing."""
        ends_at = self._ends_at(options)
        return self._stream(score_call(items, options, pin=self.pin), ends_at)

    def stream_pairs(
        self,
        items: Iterable[Any],
        *,
        beta: Beta | Mapping[str, Any] | None = None,
        kind: Kind | None = None,
        **options: Unpack[Options],
    ) -> ResultStream[PairsReply, PairResult]:
        """Like `pairs`, each result as soon as it is there, in order of finishing."""
        ends_at = self._ends_at(options)
        return self._stream(pairs_call(items, options, pin=self.pin, beta=beta, kind=kind), ends_at)

    def stream_groups(
        self,
        items: Iterable[Any],
        *,
        orders: Orders | None = None,
        comparisons: Opponents | None = None,
        aggregate: Aggregate | None = None,
        **options: Unpack[Options],
    ) -> ResultStream[GroupsReply, GroupResult]:
        """Like `groups`, each group as soon as it is there, in order of finishing."""
        ends_at = self._ends_at(options)
        call = groups_call(
            items,
            options,
            pin=self.pin,
            orders=orders,
            comparisons=comparisons,
            aggregate=aggregate,
        )
        return self._stream(call, ends_at)

    @property
    def pin(self) -> str | None:
        """The fingerprint insisted on; with `pin="first"`, None until the first reply told it."""
        return self._pin.fingerprint

    def models(self) -> ModelList:
        """The models with their provenance and every limit."""
        return parse_model(ModelList, self._get("/v1/models"))

    def version(self) -> dict[str, Any]:
        """What the service says of its own version."""
        return parse_object(self._get("/version"))

    def ready(self, *, timeout_s: float = 5.0) -> Readiness:
        """Ask every replica once, without retrying; an unreachable one is not ready."""
        reasons = {
            url: reason_not_ready(self._connections.ask_once(url, "/ready", timeout_s))
            for url in self.config.urls
        }
        return Readiness(reasons)

    def wait_until_ready(self, *, timeout_s: float = 600.0, interval_s: float = 0.5) -> Readiness:
        """Ask until a replica is ready or the time is over; the last answer either way."""
        ends_at = time.monotonic() + timeout_s
        while True:
            readiness = self.ready()
            if readiness or time.monotonic() + interval_s >= ends_at:
                return readiness
            time.sleep(interval_s)

    def close(self) -> None:
        """Close the connections; using the client again opens new ones."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"

    def __getstate__(self) -> dict[str, Any]:
        # The hook stays behind: it belongs to the log of this process.
        return {"config": self.config, "pin": self._pin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.config = state["config"]
        self._pin = state["pin"]
        self.on_event = None
        self._connections = Connections(self.config)

    def _ends_at(self, options: Options) -> float:
        """Of a call that begins now, before its pictures are encoded: by the monotonic clock."""
        return time.monotonic() + call_timeout_s(self.config, options.get("timeout_s"))

    def _reply(self, call: Call[ReplyT, Any], ends_at: float) -> ReplyT:
        timeout_s = seconds_left(ends_at)
        with CallWatch(self.on_event, call.path) as watch:
            content = self._connections.fetch("POST", call.path, call.content, timeout_s, watch)
            reply = parse_reply(call, content)
            self._pin.learn(reply.provenance.fingerprint, asked=call.pin)
            watch.done(reply)
            return reply

    def _stream(self, call: Call[ReplyT, ResultT], ends_at: float) -> ResultStream[ReplyT, ResultT]:
        timeout_s = seconds_left(ends_at)
        reader = StreamReader(call)
        return ResultStream(reader, self._results(call, reader, timeout_s))

    def _results(
        self, call: Call[ReplyT, ResultT], reader: StreamReader[ReplyT, ResultT], timeout_s: float
    ) -> Generator[ResultT, None, None]:
        with CallWatch(self.on_event, call.path) as watch:
            lines = self._connections.lines(call.path, call.content, timeout_s, watch)
            with contextlib.closing(lines):
                for line in lines:
                    result = reader.feed(line)
                    if result is not None:
                        yield result
            reply = reader.finish()
            self._pin.learn(reply.provenance.fingerprint, asked=call.pin)
            watch.done(reply)

    def _get(self, path: str) -> bytes:
        with CallWatch(self.on_event, path) as watch:
            content = self._connections.fetch(
                "GET", path, lambda _: b"", self.config.timeout_s, watch
            )
            watch.done()
            return content
