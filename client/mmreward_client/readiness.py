"""Whether scores can be had: the answer of `GET /ready`, replica by replica."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mmreward_client.attempts import Answer, Failure


@dataclass(frozen=True)
class Readiness:
    """True if at least one replica can score.

    Attributes:
        reasons: by address, why it cannot; None where it can.
    """

    reasons: Mapping[str, str | None]

    def __bool__(self) -> bool:
        return any(reason is None for reason in self.reasons.values())

    def __str__(self) -> str:
        return "; ".join(f"{url}: {reason or 'ready'}" for url, reason in self.reasons.items())


def reason_not_ready(outcome: Answer | Failure) -> str | None:
    """Why this replica cannot score, in its own words where it has any."""
    if isinstance(outcome, Failure):
        return outcome.reason
    if outcome.status == 200:
        return None
    try:
        body = json.loads(outcome.content)
    except ValueError:
        return f"HTTP {outcome.status}"
    if isinstance(body, dict):
        error = body.get("error")
        said = error.get("message") if isinstance(error, dict) else body.get("reason")
        if said:
            return str(said)
    return f"HTTP {outcome.status}"
