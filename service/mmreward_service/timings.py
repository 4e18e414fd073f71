"""Where the seconds of a request went: measured once, told to reply, log and metrics alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from mmreward_client.schema import Timings

Stage = Literal["queue", "decode", "prompt", "engine", "parse"]
"""
- queue: waiting for a thread or for room for pixels; most of it is a part of `decode`
- decode: from data URIs to pictures
- prompt: from texts to token ids
- engine: from a question to its answer, the engine's own line included
- parse: from an answer to numbers; microseconds, unless a text is hard to read
"""
STAGES: tuple[Stage, ...] = ("queue", "decode", "prompt", "engine", "parse")


class Stopwatch:
    """Times the stages of one request.

    Items run side by side, so a sum over them would exceed the request; what is kept of a stage is
    the longest that any one item spent in it.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.longest_s: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(stage, time.monotonic() - began)

    def add(self, stage: Stage, seconds: float) -> None:
        self.longest_s[stage] = max(self.longest_s[stage], seconds)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def timings(self) -> Timings:
        """The stages of API version 1; `parse` is in the log and the metrics alone."""
        return Timings(
            queue_s=self.longest_s["queue"],
            decode_s=self.longest_s["decode"],
            prompt_s=self.longest_s["prompt"],
            engine_s=self.longest_s["engine"],
            total_s=self.elapsed_s,
        )
