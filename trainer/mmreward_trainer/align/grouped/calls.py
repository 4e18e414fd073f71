"""Calls to the service from a reward function: one total time, so many at once, and what a failed
call means.

Errors that another attempt may cure (no connection, overload, no time left, a fault of the server)
follow the policy `on_failure`, after the client's own retries: `raise` stops the run, `none` gives
no reward to the completions of that call, for `patience` steps in a row without any answer at most.
All other errors stop the run at once: a changed model, a wrong key, a request that breaks a rule.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from mmreward_client import (
    AsyncRewardClient,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    RewardError,
    ServerError,
    TransportError,
)
from mmreward_client.events import CallFailed, Event, Hook, RetryPlanned

OnFailure = Literal["raise", "none"]
ReplyT = TypeVar("ReplyT")

PASSING = (TransportError, Overloaded, NotReady, DeadlineExceeded, ServerError)
"""What another attempt may cure."""


class ServiceGone(RuntimeError):
    """So many steps in a row without any answer that the run is not worth going on with."""


class Tally:
    """Counts of what happened, told by the client; calls may be in several threads."""

    def __init__(self, hook: Hook | None) -> None:
        self._hook = hook
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        kind = type(event).__name__
        with self._lock:
            self.counts[kind] += 1
            if isinstance(event, CallFailed | RetryPlanned):
                self.counts[f"{kind}/{type(event.error).__name__}"] += 1
        if self._hook is not None:
            self._hook(event)


class Caller:
    """Asks, and keeps to one total time for all requests of a step.

    Args:
        make: makes the client; called in every process that asks.
        timeout_s: of a step's requests together, waiting for their turn and all.
        max_in_flight: requests of one step that are under way at once.

    Attributes:
        failed: how many calls of the latest step had no answer.
    """

    def __init__(
        self,
        client: AsyncRewardClient,
        *,
        timeout_s: float,
        max_in_flight: int,
        on_failure: OnFailure,
        patience: int,
    ) -> None:
        if on_failure not in ("raise", "none"):
            raise ValueError(f"on_failure is raise or none, not {on_failure!r}")
        if max_in_flight < 1 or patience < 1:
            raise ValueError("max_in_flight and patience must be at least 1")
        self.client = client
        self.timeout_s = timeout_s
        self.failed = 0
        self._max_in_flight = max_in_flight
        self._on_failure = on_failure
        self._patience = patience
        self._in_vain = 0

    @property
    def stops(self) -> bool:
        """Whether a failure stops the run."""
        return self._on_failure == "raise"

    async def ask_all(
        self,
        calls: list[Callable[[float], Awaitable[ReplyT]]],
        is_nothing: Callable[[ReplyT], bool] = lambda reply: False,
    ) -> list[ReplyT | None]:
        """One reply for each call, in order; None where it failed and the policy is `none`.

        Args:
            calls: each takes the seconds that are left for it.
            is_nothing: tells a reply that is worth no more than none.

        Raises:
            RewardError: a call failed, and the policy is `raise` or no attempt would cure it.
            ServiceGone: no call had an answer for more than `patience` steps in a row.
        """
        self.failed = 0
        if not calls:
            return []
        ends_at = time.monotonic() + self.timeout_s
        turns = asyncio.Semaphore(self._max_in_flight)

        async def ask(call: Callable[[float], Awaitable[ReplyT]]) -> ReplyT:
            async with turns:
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    raise DeadlineExceeded(
                        f"no turn within {self.timeout_s:g} s", code="client_deadline"
                    )
                return await call(left_s)

        found: list[Any] = await asyncio.gather(*map(ask, calls), return_exceptions=True)
        errors = [one for one in found if isinstance(one, BaseException)]
        fatal = [one for one in errors if not isinstance(one, PASSING)]
        if errors and (fatal or self._on_failure == "raise"):
            raise (fatal or errors)[0]
        self.failed = len(errors)
        in_vain = [isinstance(one, RewardError) or is_nothing(one) for one in found]
        self._in_vain = self._in_vain + 1 if all(in_vain) else 0
        if self._in_vain > self._patience:
            cause = errors[0] if errors else None
            raise ServiceGone(
                f"no answer from the service in {self._in_vain} steps in a row: "
                f"{cause or 'every request was too large'}"
            ) from cause
        return [None if isinstance(one, RewardError) else one for one in found]
