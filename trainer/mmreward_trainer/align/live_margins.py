"""Margins from a running service, for pairs whose δ nobody computed before: pairs made in training.

`begin` asks in the background and returns at once; what comes of it is waited for when the step
needs it. Batches are asked about in the order in which they were begun, a bounded number of them at
a time, each within one total time that its retries and pauses are part of.

What can go wrong with a call is of two kinds. What another attempt may cure (no connection, no time
left, overload, a fault of the server) costs the pairs of that call their margin, with the reason,
and the run's policy decides what becomes of them. An answer may lack margins as well, as where
critiques cannot be read. After so many calls in a row that gave no margin at all the run stops,
because it would go on learning nothing. All else stops it at once: another model than the one that
the run began with, a wrong key, an answer that breaks the contract.

A pair that has a margin is not asked about again: contents decide what is the same pair, not names.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mmreward_client import (
    AsyncRewardClient,
    PairResult,
    PairsReply,
    RetryPolicy,
    RewardError,
    TooLarge,
)
from mmreward_client.pinning import FIRST
from mmreward_client.schema import Kind

from mmreward_trainer.align.grouped.calls import PASSING
from mmreward_trainer.align.halving import Items, in_halves
from mmreward_trainer.align.live_loop import BackgroundLoop
from mmreward_trainer.align.live_pairs import LivePair, live_pairs, wired
from mmreward_trainer.align.margins import Margin, MarginError, Row
from mmreward_trainer.align.service_events import EventLog

Basis = Literal["raw", "calibrated"]
Pending = Future[list[Margin]]

_SLACK_S = 60.0
"""Beside the total time of a request: pictures are read and encoded, too."""
_UNTIL_TIME_IS_OVER = RetryPolicy(retries=10_000, cap_s=10.0)
"""A service that is started again within `timeout_s` costs time and no margins."""


class MarginServiceError(MarginError):
    """The service, or what it said, does not allow to go on; the cause is the client's error."""


@dataclass(frozen=True)
class ServiceOptions:
    """How a service is asked.

    Attributes:
        urls: its replicas.
        pin: fingerprint that every margin has to come from; `first`: that of the model which is
            served when the run begins, also after it was resumed.
        basis: δ as it is, or calibrated.
        kind: critique or judge; None: what the model is.
        critiques: per response.
        look_ahead: batches of each process that are asked about before their step.
        concurrency: requests of each process under way at once; a request is a batch.
        timeout_s: total time of a request, which is a batch; see `longest_wait_s`.
        silence_timeout_s: see `mmreward_client.ClientConfig`.
        cache_pairs: margins that are kept for later epochs, of each process.
        max_lost_calls: requests in a row without a single margin after which the run stops.

    Raises:
        ValueError: a number outside of its range.
    """

    urls: tuple[str, ...]
    api_key: str | None = field(default=None, repr=False)
    pin: str = FIRST
    basis: Basis = "raw"
    kind: Kind | None = None
    critiques: int = 1
    look_ahead: int = 8
    concurrency: int = 8
    timeout_s: float = 120.0
    silence_timeout_s: float | None = None
    cache_pairs: int = 100_000
    max_lost_calls: int = 20
    process_group_timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.basis not in get_args(Basis):
            raise ValueError(f"basis is one of {', '.join(get_args(Basis))}")
        for name, least in (
            ("critiques", 1), ("look_ahead", 0), ("concurrency", 1), ("cache_pairs", 0),
            ("max_lost_calls", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}")
        if not self.pin:
            raise ValueError("pin is a fingerprint or `first`: one model for the whole run")
        self.client()

    def longest_wait_s(self, batches: int) -> float:
        """Of a step of so many batches, if none of them is answered in time."""
        at_once = min(self.concurrency, self.look_ahead + 1)
        return math.ceil(batches / at_once) * self.timeout_s

    def client(self, log: EventLog | None = None) -> AsyncRewardClient:
        """A client that is told all this; the pin goes with each request."""
        return AsyncRewardClient(
            urls=self.urls,
            api_key=self.api_key,
            timeout_s=self.timeout_s,
            silence_timeout_s=self.silence_timeout_s,
            retries=_UNTIL_TIME_IS_OVER,
            max_connections=self.concurrency,
            process_group_timeout_s=self.process_group_timeout_s,
            on_event=log,
        )


class ServiceMargins:
    """A `MarginSource` that asks a service, ahead of the step if it is told what is coming.

    Args:
        urls: addresses of the replicas.
        options: as `ServiceOptions`.

    Attributes:
        fingerprint: of the model that all margins come from; None until it is agreed on.
        events: what happened.
        asked: pairs that were sent; what is cached is not.
    """

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        if isinstance(urls, str):
            raise ValueError("urls is a list of addresses")
        self.options = ServiceOptions(tuple(urls), **options)
        self.fingerprint = None if self.options.pin == FIRST else self.options.pin
        self.events = EventLog()
        self.asked = 0
        self._client = self.options.client(self.events)
        self._loop = BackgroundLoop(self._client.aclose)
        self._turns = asyncio.Semaphore(self.options.concurrency)
        self._known: OrderedDict[str, float] = OrderedDict()
        self._lost = 0

    def begin(self, pairs: Sequence[LivePair]) -> Pending:
        """Ask about these pairs; one margin for each, in order, see `margins_of`."""
        return self._loop.begin(self._answer(pairs))

    def margins_of(self, pending: Pending) -> list[Margin]:
        """Wait for what was begun.

        Raises:
            MarginServiceError: the service does not allow to go on.
            MarginError: a pair that cannot be sent, or no calibration where one is needed.
        """
        try:
            return pending.result()
        except TimeoutError as error:
            raise MarginServiceError("a request outlived its own total time") from error
        except RewardError as error:
            said = f"margins from the service: {type(error).__name__}: {error}"
            raise MarginServiceError(said) from error

    def margins(self, rows: Sequence[Row]) -> list[Margin]:
        """Ask and wait. Raises: as `margins_of`."""
        return self.margins_of(self.begin(live_pairs(rows)))

    def model_now(self) -> str:
        """The fingerprint of the model that is served at this moment.

        Raises:
            MarginServiceError: it could not be had.
        """

        async def ask() -> str:
            return (await self._client.models()).data[0].provenance.fingerprint

        try:
            return self._loop.begin(ask()).result(self.options.timeout_s + _SLACK_S)
        except (RewardError, TimeoutError) as error:
            raise MarginServiceError(
                f"the service does not say which model it serves: {type(error).__name__}: {error}"
            ) from error

    def close(self) -> None:
        """Cancel what is under way; margins that are known stay known."""
        self._loop.close()
        self._turns = asyncio.Semaphore(self.options.concurrency)

    def __reduce__(self) -> Any:
        return _again, (self.options,)

    async def _answer(self, pairs: Sequence[LivePair]) -> list[Margin]:
        # Turns are given in the order of asking: what the next step waits for is never behind
        # what a later one will need.
        async with self._turns, asyncio.timeout(self.options.timeout_s + _SLACK_S):
            ends_at = time.monotonic() + self.options.timeout_s
            items = await asyncio.to_thread(lambda: [wired(pair) for pair in pairs])
            wanted = {key: item for key, item in items if key not in self._known}
            found = {key: Margin(self._known[key]) for key, _ in items if key not in wanted}
            self.asked += len(wanted)
            if wanted:
                margins = await in_halves(
                    list(wanted.values()), lambda some: self._asked(some, ends_at), self._alone
                )
                found |= dict(zip(wanted, margins, strict=True))
            for key in found:
                self._keep(key, found[key])
            return [found[key] for key, _ in items]

    async def _asked(self, items: Items, ends_at: float) -> list[Margin]:
        try:
            reply: PairsReply = await self._client.pairs(
                items,
                kind=self.options.kind,
                critiques=self.options.critiques,
                pin=self.fingerprint,
                timeout_s=max(0.001, ends_at - time.monotonic()),
            )
        except PASSING as error:
            self._count_lost(f"{type(error).__name__}: {error}", error)
            return [Margin(None, type(error).__name__)] * len(items)
        found = reply.provenance.fingerprint
        if self.fingerprint is None:
            self.fingerprint = found
        elif found != self.fingerprint:  # both were asked for when nothing was known yet
            raise MarginServiceError(f"two models answer: {self.fingerprint} and {found}")
        margins = [self._margin(result) for result in reply.data]
        if any(one.value is not None for one in margins):
            self._lost = 0
        else:
            self._count_lost(", ".join(sorted({str(one.reason) for one in margins})), None)
        return margins

    def _alone(self, error: TooLarge) -> Margin:
        if error.is_by_number:  # that is so for every pair
            raise error
        self._count_lost(str(error), error)
        return Margin(None, "too_large")

    def _count_lost(self, said: str, cause: Exception | None) -> None:
        """One more request that gave no margin at all.

        Raises:
            MarginServiceError: too many of them in a row.
        """
        self._lost += 1
        if self._lost >= self.options.max_lost_calls:
            raise MarginServiceError(
                f"{self._lost} requests in a row without a margin, the last one: {said}"
            ) from cause

    def _margin(self, result: PairResult) -> Margin:
        if result.delta is None:
            return Margin(None, "null" if result.status == "ok" else result.status)
        if self.options.basis == "raw":
            return Margin(result.delta)
        if result.delta_calibrated is None:
            raise MarginServiceError(
                f"the model has no calibration for {self.options.critiques} critiques: take the "
                'basis "raw", or calibrate it'
            )
        return Margin(result.delta_calibrated)

    def _keep(self, key: str, margin: Margin) -> None:
        if margin.value is None:  # it may be had another time
            return
        self._known[key] = margin.value
        self._known.move_to_end(key)
        while len(self._known) > self.options.cache_pairs:
            self._known.popitem(last=False)


def _again(options: ServiceOptions) -> ServiceMargins:
    fields = {name: getattr(options, name) for name in options.__dataclass_fields__}
    return ServiceMargins(fields.pop("urls"), **fields)
