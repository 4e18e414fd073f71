"""The life of one call: attempts, fail-over, waits and the one deadline over all of them. No I/O.

`attempts` is a generator that says what to do next (`Send` or `Sleep`) and is told what came of
it (`Answer`, `Failure`, or None after a sleep). It returns the first good answer. The
sync and the async client differ only in how they carry these steps out.

The deadline covers everything: waiting for a free connection, every attempt, every pause between
them. The service is told what is left of it with each attempt, so it drops work that nobody
waits for any more. A pause that would outlast it is not begun: the error of the last attempt is
raised at once instead.

A replica that takes the request and keeps silent is given up after a limit of its own, and another
one is asked. A plain reply is silent until all of it is computed, so the limit cannot tell a long
computation from a dead process and must not be small by itself. Where the caller names none it is
half of what is left of the call, and only while another replica is there that has not been asked
and was not found down: the last hope gets all of the rest. A call that needs less than half of its
time is never cut so, and a silent replica costs half a call instead of a whole one. It then rests
for as long as it was waited for, or the next call would wait there again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmreward_client.errors import DeadlineExceeded, RewardError, TransportError
from mmreward_client.events import CallWatch
from mmreward_client.exchange import parse_error
from mmreward_client.replicas import COOL_DOWN_S, Replicas
from mmreward_client.retry import RetryPolicy, wait_before_retry

# A replica that answers so has nothing against the request: another one may take it at once.
_NOT_SERVED_THERE = frozenset({429, 502, 503})


@dataclass(frozen=True)
class Send:
    """Send the request to `base_url`.

    Attributes:
        timeout_s: what the whole attempt may take.
        silence_s: how long the other side may neither take nor send a byte; None: as long.
    """

    base_url: str
    timeout_s: float
    silence_s: float | None = None


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; of a good one that is streamed, the open response instead of its body."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""
    response: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Failure:
    """No answer.

    Attributes:
        out_of_time: given up because the time of the whole call was over.
        silent: given up because the other side kept silent for too long.
    """

    reason: str
    out_of_time: bool = False
    silent: bool = False
    cause: BaseException | None = field(default=None, compare=False)


Step = Send | Sleep
Outcome = Answer | Failure | None


@dataclass(frozen=True)
class Done:
    """A good answer and the replica that still counts it, until the caller has read its body."""

    answer: Answer
    base_url: str


def attempts(
    replicas: Replicas,
    *,
    policy: RetryPolicy,
    timeout_s: float,
    watch: CallWatch,
    clock: Callable[[], float],
    silence_timeout_s: float | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Generator[Step, Outcome, Done]:
    """Drive one call to its end.

    Args:
        silence_timeout_s: longest silence of one attempt; None: half of what is left while another
            replica can be asked.

    Raises:
        RewardError: what the last attempt failed with, or DeadlineExceeded.
    """
    ends_at = clock() + timeout_s
    attempt = faults = 0
    tried: set[str] = set()
    while True:
        base_url = replicas.acquire(avoid=tried)
        is_kept = False
        try:
            attempt_s = max(0.001, ends_at - clock())
            silence_s = silence_timeout_s
            if silence_s is None and policy.retries > 0 and replicas.has_hope({*tried, base_url}):
                silence_s = attempt_s / 2
            watch.attempt(base_url, attempt_s)
            begun_at = clock()
            outcome = yield Send(base_url, attempt_s, silence_s)
            if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
                replicas.report(base_url, reachable=True)
                is_kept = True
                return Done(outcome, base_url)
        finally:
            if not is_kept:
                replicas.release(base_url)
        assert outcome is not None, "a Send is answered by an Answer or a Failure"
        error = _error(outcome, watch.request_id, timeout_s)
        tried.add(base_url)
        status: int | None = None
        headers: Mapping[str, str] = {}
        if isinstance(outcome, Answer):
            status, headers = outcome.status, outcome.headers
        is_unserved = status is None or status in _NOT_SERVED_THERE
        rest_s = COOL_DOWN_S
        if isinstance(outcome, Failure) and outcome.silent:
            rest_s = max(rest_s, clock() - begun_at)
        is_down = is_unserved and status != 429
        if is_down and replicas.report(base_url, reachable=False, rest_s=rest_s):
            watch.down(base_url, rest_s, error)
        remaining_s = ends_at - clock()
        is_out_of_time = isinstance(outcome, Failure) and outcome.out_of_time
        if is_out_of_time or remaining_s <= 0:
            raise error
        if is_unserved and policy.retries > 0 and replicas.has_untried(tried):
            watch.retry(base_url, 0.0, error)
            continue
        faults += status == 500
        wait_s = wait_before_retry(
            attempt, status, headers, policy=policy, faults=faults, uniform=uniform
        )
        if wait_s is None or wait_s >= remaining_s:
            raise error
        watch.retry(base_url, wait_s, error)
        yield Sleep(wait_s)
        attempt += 1
        tried.clear()


def _error(outcome: Answer | Failure, request_id: str, timeout_s: float) -> RewardError:
    if isinstance(outcome, Answer):
        return parse_error(outcome.status, outcome.headers, outcome.content, request_id=request_id)
    error: RewardError
    if outcome.out_of_time:
        error = DeadlineExceeded(
            f"no answer within {timeout_s:g} s", code="client_deadline", request_id=request_id
        )
    else:
        error = TransportError(outcome.reason)
    error.__cause__ = outcome.cause
    return error
