"""What a client tells its owner while it works: typed events, for a trainer's own log.

    def log(event):
        if isinstance(event, CallDone):
            wandb.log({"reward/seconds": event.seconds, "reward/nulls": event.nulls})

    client = RewardClient(url, on_event=log)

The hook is called in the thread or task that made the call, so it has to be quick, and it may be
called by several threads at once. What it raises is not caught: a hook may end a run. A hook stays
behind when a client is pickled, and works on in a forked process.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mmreward_client.errors import RewardError
from mmreward_client.schema import (
    GroupResult,
    GroupsReply,
    PairResult,
    PairsReply,
    ScoreReply,
    Timings,
)


@dataclass(frozen=True)
class AttemptBegun:
    """A request is about to be sent: attempt `number` (from 1) of its call."""

    path: str
    request_id: str
    number: int
    url: str
    remaining_s: float


@dataclass(frozen=True)
class RetryPlanned:
    """An attempt failed and another one follows after `wait_s`; 0 is a fail-over at once."""

    path: str
    request_id: str
    number: int
    url: str
    wait_s: float
    error: RewardError


@dataclass(frozen=True)
class ReplicaDown:
    """A replica could not be reached or is not ready: it is asked last for `rest_s` seconds."""

    url: str
    rest_s: float
    error: RewardError


@dataclass(frozen=True)
class CallDone:
    """A call came to its end with a reply that was believed.

    Attributes:
        seconds: from the call to its parsed reply, pauses and all.
        waited_s: how much of that were pauses before another attempt.
        items: entries of the reply.
        nulls: numbers that could not be had: scores, deltas, or scores of single responses.
        statuses: entries by status, `ok` among them.
        nulls_by_status: the nulls by the status of the entry that they stand in: a group may be
            `partial`, or `ok` with a response that was not complete.
        fingerprint: what the numbers came from; None of a call without scores.
        timings: seconds by stage, as the service measured them.
    """

    path: str
    request_id: str
    attempts: int
    seconds: float
    waited_s: float
    items: int = 0
    nulls: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    nulls_by_status: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str | None = None
    timings: Timings | None = None


@dataclass(frozen=True)
class CallFailed:
    """A call raised; no number of it was used."""

    path: str
    request_id: str
    attempts: int
    seconds: float
    waited_s: float
    error: RewardError


@dataclass(frozen=True)
class CallAbandoned:
    """A call was left before its end: a stream not read to its last line, a cancelled task, Ctrl-C.

    Attributes:
        reason: kind of the exception that ended it: `GeneratorExit` for a stream that was closed,
            `CancelledError`, `KeyboardInterrupt`.
    """

    path: str
    request_id: str
    attempts: int
    seconds: float
    waited_s: float
    reason: str


Event = AttemptBegun | RetryPlanned | ReplicaDown | CallDone | CallFailed | CallAbandoned
Hook = Callable[[Event], None]


def new_request_id() -> str:
    return uuid.uuid4().hex


class CallWatch:
    """Counts what becomes of one call and tells the hook; leaving it by an exception tells, too.

    One end is told of a call, unless its hook raised: such a hook hears no more of this call.
    Not thread-safe: one call has one watch.
    """

    def __init__(self, hook: Hook | None, path: str) -> None:
        self._hook = hook
        self._path = path
        self.request_id = new_request_id()
        self._begun = time.monotonic()
        self._attempts = 0
        self._waited_s = 0.0
        self._has_ended = False

    def attempt(self, url: str, remaining_s: float) -> None:
        self._attempts += 1
        self._tell(AttemptBegun(self._path, self.request_id, self._attempts, url, remaining_s))

    def retry(self, url: str, wait_s: float, error: RewardError) -> None:
        self._waited_s += wait_s
        number = self._attempts
        self._tell(RetryPlanned(self._path, self.request_id, number, url, wait_s, error))

    def down(self, url: str, rest_s: float, error: RewardError) -> None:
        self._tell(ReplicaDown(url, rest_s, error))

    def done(self, reply: ScoreReply | PairsReply | GroupsReply | None = None) -> None:
        """The end of the call; a GET has no reply that could be counted."""
        self._has_ended = True
        seconds = time.monotonic() - self._begun
        event = CallDone(self._path, self.request_id, self._attempts, seconds, self._waited_s)
        if reply is not None:
            nulls = nulls_by_status(reply)
            event = CallDone(
                self._path,
                self.request_id,
                self._attempts,
                seconds,
                self._waited_s,
                items=len(reply.data),
                nulls=nulls.total(),
                statuses=Counter(result.status for result in reply.data),
                nulls_by_status=nulls,
                fingerprint=reply.provenance.fingerprint,
                timings=reply.timings,
            )
        self._tell(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._has_ended:
            return
        self._has_ended = True
        seconds = time.monotonic() - self._begun
        facts = (self._path, self.request_id, self._attempts, seconds, self._waited_s)
        if isinstance(error, RewardError):
            self._tell(CallFailed(*facts, error))
        else:
            self._tell(CallAbandoned(*facts, type(error).__name__))

    def _tell(self, event: Event) -> None:
        if self._hook is None:
            return
        try:
            self._hook(event)
        except BaseException:
            # Told of its own exception as of an end, it would raise once more over the first.
            self._has_ended = True
            raise


def nulls_by_status(reply: ScoreReply | PairsReply | GroupsReply) -> Counter[str]:
    """Numbers of a reply that are None: scores, deltas, or the scores in groups."""
    nulls: Counter[str] = Counter()
    for result in reply.data:
        if isinstance(result, GroupResult):
            count = sum(score is None for score in result.scores)
        else:
            count = int((result.delta if isinstance(result, PairResult) else result.score) is None)
        if count:
            nulls[result.status] += count
    return nulls
