"""Who may come in: permits counted in critiques, and no queue in front of the engine.

A request needs items x sides x K permits. Beyond the bound it is turned away at once with 429 and
an honest Retry-After; waiting here would only hide the overload from whoever balances the load.
"""

from __future__ import annotations

import math
import time
from types import TracebackType

from mmreward_service.errors import Overloaded, TooLarge

_MAX_RETRY_AFTER_S = 60
_MEMORY_S = 30.0


class Admission:
    """The bounded number of critiques in flight."""

    def __init__(self, limit: int, default_retry_after_s: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._admitted: dict[Ticket, float] = {}
        self._default_retry_after_s = default_retry_after_s
        self._finished_per_s = 0.0
        self._finished = 0
        self._counted_since = time.monotonic()

    def admit(self, permits: int) -> Ticket:
        """Take the permits of a whole request, or refuse it.

        Raises:
            TooLarge: the request needs more than there are at all.
            Overloaded: the permits are in use now.
        """
        if permits > self.limit:
            raise TooLarge(
                f"the request asks for {permits} critiques, max_in_flight is {self.limit}",
                code="max_in_flight",
                param="items",
            )
        if self.in_flight + permits > self.limit:
            raise Overloaded(
                f"{self.in_flight} of {self.limit} critiques are in flight, "
                f"the request asks for {permits}",
                retry_after_s=self._retry_after_s(permits),
            )
        if self.in_flight == 0:
            # Idle time says nothing about how fast critiques are written.
            self._finished, self._counted_since = 0, time.monotonic()
        self.in_flight += permits
        ticket = Ticket(self, permits)
        self._admitted[ticket] = time.monotonic()
        return ticket

    @property
    def requests(self) -> int:
        """Requests that were admitted and are not over."""
        return len(self._admitted)

    @property
    def oldest_age_s(self) -> float:
        """Time since the oldest of them was admitted; 0 without any."""
        # A dict keeps the order of insertion, and its order is that of the clock.
        oldest = next(iter(self._admitted.values()), None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def leave(self, ticket: Ticket) -> None:
        self._admitted.pop(ticket, None)

    def give_back(self, permits: int) -> None:
        self.in_flight -= permits
        self._finished += permits
        self._observe()

    def _observe(self) -> None:
        """Critiques finished per second, over the last half minute or so."""
        now = time.monotonic()
        span_s = now - self._counted_since
        if span_s < 1.0:
            return
        keep = math.exp(-span_s / _MEMORY_S) if self._finished_per_s else 0.0
        self._finished_per_s = keep * self._finished_per_s + (1 - keep) * self._finished / span_s
        self._finished, self._counted_since = 0, now

    def _retry_after_s(self, permits: int) -> int:
        if self._finished_per_s <= 0:
            return self._default_retry_after_s
        missing = self.in_flight + permits - self.limit
        wait_s = math.ceil(missing / self._finished_per_s)
        return min(max(wait_s, 1), _MAX_RETRY_AFTER_S)


class Ticket:
    """The permits of one request; each item gives its own back when it is finished."""

    def __init__(self, admission: Admission, permits: int) -> None:
        self._admission = admission
        self._left = permits

    def release(self, permits: int) -> None:
        permits = min(permits, self._left)
        self._left -= permits
        if permits:
            self._admission.give_back(permits)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release(self._left)
        self._admission.leave(self)
