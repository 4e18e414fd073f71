"""What happened between a training run and the service: a line of JSON for all that was not smooth.

Retries, replicas that went down, calls that failed or were left, answers of which something failed,
and the model that the run began with. Neither prompts nor pictures nor keys. Calls that went well
at the first attempt are counted, and only counted: a run of days has millions.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmreward_client.events import (
    AttemptBegun,
    CallAbandoned,
    CallDone,
    CallFailed,
    Event,
    ReplicaDown,
    RetryPlanned,
)

from mmreward_trainer.align.grouped.calls import Tally

EVENTS_FILE = "service-events.jsonl"
_LOG = logging.getLogger(__name__)


def of_process(rank: int) -> str:
    """The file's name of one process; beside others each writes its own."""
    return EVENTS_FILE if rank == 0 else f"rank{rank}-{EVENTS_FILE}"


class EventLog:
    """A hook of the client. Calls may come from any thread.

    Attributes:
        tally: how often what happened.
        path: where lines go; None: nowhere yet.
    """

    def __init__(self) -> None:
        self.tally = Tally(self._line_of)
        self.path: Path | None = None
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        self.tally(event)

    def write(self, kind: str, **facts: Any) -> None:
        """A line of its own."""
        if self.path is None:
            return
        moment = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": moment, "event": kind, **facts})
        try:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:  # a full disk costs lines of this log, not the run
            _LOG.warning("%s: a line is lost: %s", self.path, error)

    def _line_of(self, event: Event) -> None:
        kind = type(event).__name__
        if isinstance(event, AttemptBegun):
            return
        if isinstance(event, ReplicaDown):
            self.write(kind, url=event.url, rest_s=_short(event.rest_s), error=_said(event.error))
            return
        facts: dict[str, Any] = {"request_id": event.request_id}
        if isinstance(event, RetryPlanned):
            facts |= {"attempt": event.number, "url": event.url, "wait_s": _short(event.wait_s)}
            self.write(kind, **facts, error=_said(event.error))
            return
        facts |= {"attempts": event.attempts, "seconds": _short(event.seconds)}
        if isinstance(event, CallFailed):
            self.write(kind, **facts, error=_said(event.error))
        elif isinstance(event, CallAbandoned):
            self.write(kind, **facts, reason=event.reason)
        # A group is in order whose only nulls are responses that the caller itself left out.
        elif isinstance(event, CallDone) and (set(event.statuses) - {"ok"} or event.attempts > 1):
            self.write(kind, **facts, items=event.items, statuses=dict(event.statuses))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _short(seconds: float) -> float:
    return round(seconds, 3)
