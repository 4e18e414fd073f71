"""What a client is told at construction, checked once and shared by both kinds of client.

Nothing here is read from the environment: a library inside somebody else's job takes arguments.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import urlsplit

from mmreward_client.retry import RetryPolicy

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 600.0
DEFAULT_CONNECT_TIMEOUT_S = 5.0
DEFAULT_MAX_CONNECTIONS = 64


@dataclass(frozen=True)
class ClientConfig:
    """Arguments of `RewardClient` and `AsyncRewardClient`.

    Args:
        urls: base addresses of the replicas, one or more.
        api_key: sent as a bearer token; never shown.
        timeout_s: total time of a call: waits, attempts and pauses together.
        connect_timeout_s: time for one connection to be opened, the sign to try another replica.
        silence_timeout_s: longest time in which a replica neither takes a byte of the request nor
            sends one of its answer; then another one is asked, or the same one again. A plain reply
            begins when all of it is computed, so this has to be longer than any scoring takes. Of
            a stream it bounds the time until it begins. None: half of what is left of the call
            while another replica can be asked, else all of it.
        retry: how often and how patiently to try again.
        pin: fingerprint that every reply must come from; `first`: that of the first reply.
        max_connections: requests under way at once; further ones wait for their turn.
        process_group_timeout_s: timeout of the caller's process group, if the call stands inside a
            training step: total times that are not smaller are refused, because the other ranks
            would give the group up while this one still waits.
    """

    urls: tuple[str, ...] = (DEFAULT_URL,)
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S
    silence_timeout_s: float | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    pin: str | None = None
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    process_group_timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not self.urls or len(set(self.urls)) != len(self.urls):
            raise ValueError("urls must name at least one replica, and none twice")
        for url in self.urls:
            check_address(url)
        for name in ("timeout_s", "connect_timeout_s"):
            check_seconds(name, getattr(self, name))
        if self.silence_timeout_s is not None:
            check_seconds("silence_timeout_s", self.silence_timeout_s)
        self.check_fits_the_group(self.timeout_s)
        if self.max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("api_key must be printable ASCII: it travels in a header")

    def check_fits_the_group(self, timeout_s: float) -> None:
        """Refuse a call that could outlast the caller's process group.

        Raises:
            ValueError: `timeout_s` is not smaller than the timeout of the group.
        """
        group_s = self.process_group_timeout_s
        if group_s is None:
            return
        check_seconds("process_group_timeout_s", group_s)
        if timeout_s >= group_s:
            raise ValueError(
                f"timeout_s {timeout_s:g} is not smaller than process_group_timeout_s {group_s:g}: "
                "the other ranks would give up before this call does"
            )


def check_address(url: str) -> str:
    """The address itself, if a service may have it.

    Raises:
        ValueError: it is none, or holds a password, which the message does not repeat.
    """
    if "@" in url:
        # It would stand in every log and error that names the replica.
        raise ValueError(
            f"the address of {url.rpartition('@')[2]} holds a user or a password: a key is given "
            "as api_key"
        )
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an http(s) address: {url!r}")
    return url


class ClientOptions(TypedDict, total=False):
    """Keyword arguments of both clients; see `ClientConfig`. `retries` may be a whole policy."""

    urls: Sequence[str] | None
    api_key: str | None
    timeout_s: float
    connect_timeout_s: float
    silence_timeout_s: float | None
    retries: int | RetryPolicy
    pin: str | None
    max_connections: int
    process_group_timeout_s: float | None


def make_config(url: str | None, options: ClientOptions) -> ClientConfig:
    """Arguments as callers write them, as one checked value.

    Raises:
        ValueError: an argument outside its range, or both `url` and `urls`.
        TypeError: an argument that does not exist.
    """
    fields: dict[str, Any] = dict(options)
    urls = fields.pop("urls", None)
    retries = fields.pop("retries", RetryPolicy())
    if url is not None and urls is not None:
        raise ValueError("give url or urls, not both")
    if isinstance(urls, str):
        raise ValueError("urls is a list of addresses; for one address use url")
    chosen = [url or DEFAULT_URL] if urls is None else list(urls)
    return ClientConfig(
        urls=tuple(one.rstrip("/") for one in chosen),
        retry=retries if isinstance(retries, RetryPolicy) else RetryPolicy(retries=retries),
        **fields,
    )


def check_seconds(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number of seconds, got {value}")


def call_timeout_s(config: ClientConfig, timeout_s: float | None) -> float:
    """The total time of one call: its own if given, else the client's."""
    if timeout_s is None:
        return config.timeout_s
    check_seconds("timeout_s", timeout_s)
    config.check_fits_the_group(timeout_s)
    return timeout_s


def seconds_left(ends_at: float) -> float:
    """Until a moment of the monotonic clock; never zero, so that an error tells of the deadline."""
    return max(0.001, ends_at - time.monotonic())


def request_headers(config: ClientConfig, request_id: str, *, accept: str) -> dict[str, str]:
    """Headers of one request."""
    headers = {
        "Accept": accept,
        "Content-Type": "application/json",
        "User-Agent": "mmreward-client/1",
        "X-Request-Id": request_id,
    }
    if config.api_key is not None:
        headers["Authorization"] = f"Bearer {config.api_key}"
    return headers
