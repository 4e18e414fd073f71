"""Which of several replicas gets the next request: the one with the fewest unanswered ones.

A replica that could not be reached goes to the back of the row for a while; it is asked again
when every other one has been, so that a whole service coming back is noticed at once.
Thread-safe; one object per client and process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

COOL_DOWN_S = 5.0


class Replicas:
    """Base addresses with the number of requests under way at each."""

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._outstanding = dict.fromkeys(urls, 0)
        self._down_until = dict.fromkeys(urls, float("-inf"))
        self._last_pick = dict.fromkeys(urls, 0)
        self._picks = 0

    def acquire(self, *, avoid: Collection[str] = ()) -> str:
        """The best replica, counted as having one more request; give it back with `release`."""
        with self._lock:
            now = self._clock()

            def rank(url: str) -> tuple[bool, bool, int, int]:
                is_down = self._down_until[url] > now
                return url in avoid, is_down, self._outstanding[url], self._last_pick[url]

            url = min(self._outstanding, key=rank)
            self._picks += 1
            self._last_pick[url] = self._picks
            self._outstanding[url] += 1
            return url

    def release(self, url: str) -> None:
        with self._lock:
            self._outstanding[url] -= 1

    def report(self, url: str, *, reachable: bool, rest_s: float | None = None) -> bool:
        """Note what an attempt showed; true if a replica that was up is down from now on.

        Args:
            rest_s: how long one that is not reachable is asked last; None: COOL_DOWN_S.
        """
        with self._lock:
            now = self._clock()
            was_up = self._down_until[url] <= now
            until = now + (COOL_DOWN_S if rest_s is None else rest_s)
            self._down_until[url] = float("-inf") if reachable else until
            return was_up and not reachable

    def has_untried(self, tried: Collection[str]) -> bool:
        return any(url not in tried for url in self._outstanding)

    def has_hope(self, tried: Collection[str]) -> bool:
        """Whether there is a replica that was not tried and is not known to be down."""
        with self._lock:
            now = self._clock()
            return any(url not in tried and until <= now for url, until in self._down_until.items())

    @property
    def outstanding(self) -> dict[str, int]:
        """Requests under way by address."""
        with self._lock:
            return dict(self._outstanding)
