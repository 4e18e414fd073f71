"""What runs through faults share: their lengths, their end, and what their log must tell."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from .unreliable_service import Unreliable

LENGTH_S = 120.0
"""Of the run in the normal tests; the long form, `make soak`, is SOAK_S."""
SOAK_S = 600.0
CYCLE_S = 15.0
"""Everything that goes wrong by a clock goes wrong once in it."""
TIMEOUT_S = 1.5
SLACK_S = 30.0
"""For a machine that does other things at the same time."""
LONGEST = 3
"""Times its length that a run may take where steps are slow."""
PASSING = {"TransportError", "Overloaded", "NotReady", "DeadlineExceeded", "ServerError"}


class Clock(TrainerCallback):
    """Ends the training when its time is over and enough has happened."""

    def __init__(self, length_s: float, enough: Callable[[], bool]) -> None:
        self._begun = time.monotonic()
        self._length_s = length_s
        self._enough = enough

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        seconds = time.monotonic() - self._begun
        if seconds >= LONGEST * self._length_s or (seconds >= self._length_s and self._enough()):
            control.should_training_stop = True


def events_told(file: Path, service: Unreliable) -> Counter[str]:
    """Counts of the events in the log, which has all that went wrong.

    The log is that of a run in which everything went wrong at least once.
    """
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["event"] == "Began"
    counts = Counter(line["event"] for line in lines)
    assert counts["RetryPlanned"] > 0
    assert counts["CallFailed"] > 0
    assert {line["url"] for line in lines if line["event"] == "ReplicaDown"} == set(service.urls)
    nulls = [line for line in lines if line["event"] == "CallDone" and "truncated" in
             line["statuses"]]  # fmt: skip
    assert nulls
    said = " ".join(str(line.get("error")) for line in lines)
    for kind, words in (("overloaded", "Overloaded"), ("not_ready", "NotReady"),
                        ("drop", "TransportError")):  # fmt: skip
        assert service.local.injected[kind] > 0, kind
        assert words in said
    return counts
