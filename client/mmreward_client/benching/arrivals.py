"""When requests are sent: as soon as another one has ended, or at times of their own.

A closed loop, N requests under way at any time, is how trainers wait for rewards. It slows down
with the service, so that a service that stands still is asked nothing, and its worst seconds
appear as one slow request ("coordinated omission"). In an open loop requests arrive by a Poisson
process of a given rate, whatever the service does, and their time counts from when they were due.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """How much is sent. Just one of `concurrency` and `rate_per_s` is given.

    Attributes:
        requests: how many at the most; None: as many as `seconds` allow.
        seconds: time after which no further one is sent; None: as long as `requests` take.
        concurrency: closed loop: requests under way at once.
        rate_per_s: open loop: mean number of requests a second.
        seed: of the times of an open loop.
    """

    requests: int | None = None
    seconds: float | None = None
    concurrency: int | None = None
    rate_per_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.requests is None and self.seconds is None:
            raise ValueError("a load needs a number of requests or of seconds to end")
        if (self.concurrency is None) == (self.rate_per_s is None):
            raise ValueError("a load has either a concurrency or a rate")


async def due_times(load: Load, free: asyncio.Semaphore | None) -> AsyncGenerator[float, None]:
    """The times of the monotonic clock at which requests are due, each one when it has come.

    Args:
        free: of a closed loop: acquired for every request; released by who ends one.
    """
    draw = random.Random(load.seed)
    begun = due = time.monotonic()
    sent = 0
    while load.requests is None or sent < load.requests:
        if free is not None:
            await free.acquire()
            due = time.monotonic()
        elif load.rate_per_s is not None:
            due += draw.expovariate(load.rate_per_s) if sent else 0.0
        if load.seconds is not None and due - begun >= load.seconds:
            return  # not waited for: at a low rate it may be due long after the end
        if free is None:
            await asyncio.sleep(due - time.monotonic())
        sent += 1
        yield due
