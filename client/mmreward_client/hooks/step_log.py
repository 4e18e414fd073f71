"""What the rewards of a training step cost and lacked, as the flat dict that loggers take."""

from __future__ import annotations

import os
import threading
import weakref

from mmreward_client.events import (
    CallAbandoned,
    CallDone,
    CallFailed,
    Event,
    ReplicaDown,
    RetryPlanned,
)

_ALWAYS = (
    "calls",
    "failed",
    "abandoned",
    "seconds",
    "service_s",
    "wait_s",
    "retries",
    "replicas_down",
    "items",
    "nulls",
)


class StepLog:
    """An `on_event` hook that gathers until `step` is called.

        steps = StepLog()
        client = RewardClient(url, on_event=steps)
        for batch in batches:
            ...
            wandb.log({"loss": loss, **steps.step()})

    Every key stands in every step, from the first on; a status does from the step on in which it
    was first seen. Thread-safe. In a forked process it begins anew: what the parent has gathered is
    the parent's.

    Args:
        prefix: before every key.
    """

    _sums: dict[str, float]
    _longest_s: float

    def __init__(self, prefix: str = "reward/") -> None:
        self._prefix = prefix
        self._begin()
        _ALL.add(self)

    def __call__(self, event: Event) -> None:
        found: dict[str, float] = {}
        longest_s = 0.0
        if isinstance(event, RetryPlanned):
            found = {"retries": 1, "wait_s": event.wait_s}
        elif isinstance(event, ReplicaDown):
            found = {"replicas_down": 1}
        elif isinstance(event, CallDone | CallFailed | CallAbandoned):
            longest_s = event.seconds
            found = {"calls": 1, "seconds": event.seconds}
            if isinstance(event, CallDone):
                found |= {"items": event.items, "nulls": event.nulls}
                found |= {f"status/{status}": n for status, n in event.statuses.items()}
                if event.timings is not None:
                    found["service_s"] = event.timings.total_s
            else:
                found["failed" if isinstance(event, CallFailed) else "abandoned"] = 1
        with self._lock:
            for name, value in found.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._longest_s = max(self._longest_s, longest_s)

    def step(self) -> dict[str, float]:
        """What has happened since the last step, which this one ends.

        - `calls`, and of them `failed` (raised) and `abandoned` (left)
        - `seconds`: of all calls together, more than the clock's where they ran side by side;
          `longest_s`: of the longest; `service_s`: what the service itself needed for them
        - `retries`, `wait_s`: further attempts, and the pauses before them
        - `replicas_down`: how often one was found that could not be reached or was not ready
        - `items`, `nulls`: entries of replies, and numbers in them that could not be had
        - `status/NAME`: entries by status
        """
        with self._lock:
            sums, longest_s = self._sums, self._longest_s
            # Statuses that were seen stay, at 0: a curve with holes is read as one without zeros.
            self._sums = dict.fromkeys(sums, 0.0)
            self._longest_s = 0.0
        values = {**sums, "longest_s": longest_s}
        return {f"{self._prefix}{name}": values[name] for name in sorted(values)}

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._sums = dict.fromkeys(_ALWAYS, 0.0)
        self._longest_s = 0.0


_ALL: weakref.WeakSet[StepLog] = weakref.WeakSet()


def _begin_everywhere() -> None:
    for one in list(_ALL):
        one._begin()


# A thread that is not in the child may have held a lock of the parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_everywhere)
