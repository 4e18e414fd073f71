"""When to send a request again, and after how long: a pure function of what happened.

Scoring changes nothing on the other side, so a request whose answer was lost may be sent again.
Retried: connection errors, 408, 429 and 5xx. Of these 500 once (an overloaded machine gets over
it, a bug on this input does not), and 501 and 505 never: what a server does not know it does not
learn. No other 4xx ever: the same request is wrong again.

Full jitter: wait = random(0, min(cap, base * 2**attempt)), so that a thousand workers that failed
together do not come back together. `Retry-After` is a floor under it, not a replacement: workers
told the same second would again arrive together.

Not here: the total deadline. It belongs to the call, which knows how much of it is left.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NEVER_LEARNED = frozenset({501, 505})


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently.

    Args:
        retries: further attempts after the first; 0 turns retrying off.
        base_s: upper bound of the first wait, in seconds.
        cap_s: upper bound of every wait that the service did not ask for, in seconds.
    """

    retries: int = 4
    base_s: float = 0.5
    cap_s: float = 20.0

    def __post_init__(self) -> None:
        if self.retries < 0 or self.base_s < 0 or self.cap_s < 0:
            raise ValueError("retries, base_s and cap_s must be >= 0")


def wait_before_retry(
    attempt: int,
    status: int | None,
    headers: Mapping[str, str],
    *,
    policy: RetryPolicy,
    faults: int = 1,
    uniform: Callable[[float, float], float] = random.uniform,
) -> float | None:
    """Seconds to wait before attempt number `attempt + 1`, or None: do not send it again.

    Args:
        attempt: number of the attempt that failed, from 0.
        status: its HTTP status; None is a connection error.
        headers: of the answer, names in lower case or case-insensitive.
        faults: how many attempts of this call were answered with 500, this one included.
    """
    if attempt >= policy.retries:
        return None
    if status is not None and not is_retried(status):
        return None
    if status == 500 and faults > 1:
        return None
    ceiling_s = min(policy.cap_s, policy.base_s * 2.0 ** min(attempt, 30))
    return (retry_after_s(headers) or 0.0) + uniform(0.0, ceiling_s)


def is_retried(status: int) -> bool:
    """Whether the same request may have another answer later."""
    return status in (408, 429) or (500 <= status < 600 and status not in _NEVER_LEARNED)


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """`Retry-After` in seconds, from either of its two forms; None if absent or unreadable."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
