"""What a local service does wrong, and when: by a script, or with chances that a seed repeats."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from mmreward_client.errors import InvalidInput
from mmreward_client.schema import Status

Kind = Literal[
    "overloaded",
    "not_ready",
    "deadline",
    "internal",
    "silent",
    "slow",
    "drip",
    "drop",
    "drop_in_body",
    "null",
    "malformed",
    "wrong_order",
    "wrong_length",
    "wrong_id",
    "other_model",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one scoring request.

    Kinds:
        overloaded, not_ready: 429, 503 with `Retry-After` (whole seconds, rounded up; None: none).
        deadline, internal: 504, 500.
        silent: no answer for `seconds` (None: until the caller hangs up), then a good one.
        slow: a good answer after `seconds`.
        drip: a good answer, a byte every `seconds`.
        drop: the connection is closed before the answer; drop_in_body: in the middle of it.
        null: `share` of the items have `status` instead of numbers; the others are good.
        malformed: a body that is no JSON.
        wrong_order, wrong_length, wrong_id: two entries exchanged (one item: a wrong index), the
            last one missing, an id that was not asked for.
        other_model: a good answer with another fingerprint.

    Raises:
        InvalidInput: no such kind or status, a share outside of (0, 1], a negative time.
    """

    kind: Kind
    retry_after_s: float | None = 1.0
    seconds: float | None = None
    status: Status = "truncated"
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput(f"fault {self.kind!r} is none of {', '.join(KINDS)}")
        if self.status == "ok" or self.status not in get_args(Status):
            raise InvalidInput(f"{self.status!r} is no status of a failure")
        if not 0 < self.share <= 1:
            raise InvalidInput("share must be above 0 and at most 1")
        if min(self.seconds or 0.0, self.retry_after_s or 0.0) < 0:
            raise InvalidInput("seconds and retry_after_s must not be negative")


class FaultPlan:
    """The fault of each scoring request, by its number of arrival.

    Args:
        script: faults for the first requests, None for a good answer; used up in order.
        chances: from a fault, or its kind, to its probability, once the script is used up.
        seed: which requests the chances hit is a function of the seed and the request's number.

    Raises:
        InvalidInput: a script of anything but faults; chances that are negative or above 1
            together.
    """

    def __init__(
        self,
        script: Iterable[Fault | None] = (),
        *,
        chances: Mapping[Fault | Kind, float] | None = None,
        seed: int = 0,
    ) -> None:
        self._script = deque(script)
        self._refuse_others(self._script)
        self._chances = [
            (fault if isinstance(fault, Fault) else Fault(fault), chance)
            for fault, chance in (chances or {}).items()
        ]
        self._seed = seed
        if any(chance < 0 for _, chance in self._chances):
            raise InvalidInput("a chance must not be negative")
        if sum(chance for _, chance in self._chances) > 1 + 1e-9:
            raise InvalidInput("the chances are more than 1 together")

    def add(self, *script: Fault | None) -> None:
        """More of the script, behind what is left of it."""
        self._refuse_others(script)
        self._script.extend(script)

    @staticmethod
    def _refuse_others(script: Iterable[object]) -> None:
        """A kind of fault by itself, or a mapping of chances, would never be injected."""
        for one in script:
            if not isinstance(one, Fault | None):
                raise InvalidInput(f"a script is of Fault or None, not {one!r}")

    def of_request(self, number: int) -> Fault | None:
        """The fault of one request; None: a good answer. Each number is asked for once."""
        if self._script:
            return self._script.popleft()
        place = self.draw(number).random()
        for fault, chance in self._chances:
            place -= chance
            if place < 0:
                return fault
        return None

    def draw(self, number: int) -> random.Random:
        """The random numbers of one request."""
        return random.Random(f"{self._seed}:{number}")
