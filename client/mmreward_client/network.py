"""httpx2 in the words of `attempts.py`: time limits, and which exception means what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2

from mmreward_client.attempts import Failure
from mmreward_client.config import ClientConfig
from mmreward_client.errors import DeadlineExceeded, RewardError, TransportError

# Giving up while waiting for these means that the whole attempt's time was used; a connection
# that does not open within its own shorter limit is a replica to step over instead.
_OUT_OF_TIME = (httpx2.ReadTimeout, httpx2.WriteTimeout, httpx2.PoolTimeout)


def timeout_of(config: ClientConfig, timeout_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(timeout_s, connect=min(timeout_s, config.connect_timeout_s))


class TimeLeft(dict[str, Any]):
    """Time limits of one attempt that shrink while it is under way.

    httpx2 gives each phase its limit anew (a free connection, connecting, each write, each read),
    which would add up to several times the deadline. It looks a limit up when its phase begins;
    what it finds here is what is left of the whole.
    """

    def __init__(self, config: ClientConfig, ends_at: float) -> None:
        super().__init__(dict.fromkeys(("connect", "read", "write", "pool")))
        self._connect_timeout_s = config.connect_timeout_s
        self._ends_at = ends_at

    def get(self, phase: str, default: Any = None) -> Any:
        # Zero would mean "do not wait at all", which is another kind of error.
        left_s = max(0.001, self._ends_at - time.monotonic())
        return min(left_s, self._connect_timeout_s) if phase == "connect" else left_s


_PIECE_BYTES = 2**18


def in_time(body: bytes, ends_at: float) -> Iterator[bytes]:
    """A body in pieces, none of them begun after its time.

    Raises:
        httpx2.WriteTimeout: the network did not take it all in time.
    """
    for place in range(0, len(body), _PIECE_BYTES):
        if time.monotonic() >= ends_at:
            raise httpx2.WriteTimeout("the request was not sent in time")
        yield body[place : place + _PIECE_BYTES]


def limits_of(config: ClientConfig) -> httpx2.Limits:
    return httpx2.Limits(
        max_connections=config.max_connections, max_keepalive_connections=config.max_connections
    )


def failure_of(error: httpx2.HTTPError, base_url: str) -> Failure:
    """An exception of httpx2 as the outcome of an attempt."""
    said = str(error) or type(error).__name__
    return Failure(f"{base_url}: {said}", out_of_time=isinstance(error, _OUT_OF_TIME), cause=error)


def stream_error(
    error: httpx2.HTTPError, base_url: str, timeout_s: float, request_id: str
) -> RewardError:
    """What broke a stream that had begun well. It is not begun again: items were handed out."""
    if isinstance(error, _OUT_OF_TIME):
        return DeadlineExceeded(
            f"the stream did not end within {timeout_s:g} s",
            code="client_deadline",
            request_id=request_id,
        )
    return TransportError(f"{base_url}: the stream broke: {str(error) or type(error).__name__}")
