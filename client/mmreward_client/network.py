"""httpx2 in the words of `attempts.py`: time limits, and which exception means what."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from mmreward_client.attempts import Failure, Send
from mmreward_client.config import ClientConfig, request_headers
from mmreward_client.errors import DeadlineExceeded, RewardError, TransportError

# Giving up while waiting for these means that the whole call's time was used, or the time in which
# the other side may keep silent. A connection that does not open within its own shorter limit is a
# replica to step over instead.
_SILENCE = (httpx2.ReadTimeout, httpx2.WriteTimeout)
_OUT_OF_TIME = (*_SILENCE, httpx2.PoolTimeout)


class TimeLeft(dict[str, Any]):
    """Time limits of one attempt that shrink while it is under way.

    httpx2 gives each phase its limit anew (a free connection, connecting, each write, each read),
    which would add up to several times the deadline. It looks a limit up when its phase begins;
    what it finds here is what is left of the whole, or less where silence has a limit of its own.
    """

    def __init__(self, config: ClientConfig, step: Send, ends_at: float) -> None:
        super().__init__(dict.fromkeys(("connect", "read", "write", "pool")))
        silence_s = math.inf if step.silence_s is None else step.silence_s
        self._limits = {"connect": config.connect_timeout_s, "read": silence_s, "write": silence_s}
        self._ends_at = ends_at

    def get(self, phase: str, default: Any = None) -> Any:
        # Zero would mean "do not wait at all", which is another kind of error.
        left_s = max(0.001, self._ends_at - time.monotonic())
        return min(left_s, self._limits.get(phase, math.inf))

    def lift(self) -> None:
        """From here on only the whole has an end: the answer has begun, and may pause."""
        self._limits.clear()


_PIECE_BYTES = 2**18


def pieces(body: bytes) -> Iterator[bytes]:
    for place in range(0, len(body), _PIECE_BYTES):
        yield body[place : place + _PIECE_BYTES]


def headers_of(config: ClientConfig, request_id: str, accept: str, body: bytes) -> dict[str, str]:
    """Headers of one request, of one with a body that is sent in pieces its length as well."""
    headers = request_headers(config, request_id, accept=accept)
    if body:
        # Cut in pieces it would otherwise be sent with an encoding of its own.
        headers["Content-Length"] = str(len(body))
    return headers


def in_time(body: bytes, ends_at: float) -> Iterator[bytes]:
    """A body in pieces, none of them begun after its time.

    Raises:
        httpx2.WriteTimeout: the network did not take it all in time.
    """
    for piece in pieces(body):
        if time.monotonic() >= ends_at:
            raise httpx2.WriteTimeout("the request was not sent in time")
        yield piece


def limits_of(config: ClientConfig) -> httpx2.Limits:
    return httpx2.Limits(
        max_connections=config.max_connections, max_keepalive_connections=config.max_connections
    )


def failure_of(error: httpx2.HTTPError, step: Send, ends_at: float) -> Failure:
    """An exception of httpx2 as the outcome of an attempt that had to end at `ends_at`."""
    if isinstance(error, _SILENCE) and step.silence_s is not None and time.monotonic() < ends_at:
        said = f"no byte within {step.silence_s:g} s"
        return Failure(f"{step.base_url}: {said}", silent=True, cause=error)
    said = str(error) or type(error).__name__
    is_over = isinstance(error, _OUT_OF_TIME)
    return Failure(f"{step.base_url}: {said}", out_of_time=is_over, cause=error)


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
