"""Rewards that a loop asked for and did not get, counted from what the loop itself wrote.

A judge that writes no scores leaves its answer without a reward. That is no fault of a loop, which
has to leave the answer out; a request without any reply is one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from loops.rows import read_rows

_NULL = "/null"
_CUT = "/null_incomplete"
_FAILED = "service/failed_calls"


@dataclass(frozen=True)
class Missing:
    """Rewards that were missing.

    Attributes:
        answers: complete answers, or pairs, without a reward.
        asked: of how many.
        failed_calls: requests without a reply.
    """

    answers: int
    asked: int
    failed_calls: int

    def __str__(self) -> str:
        return (
            f"{self.answers} of {self.asked} without a reward, "
            f"{self.failed_calls} requests without a reply"
        )

    @property
    def is_broken(self) -> bool:
        """A request failed, or no reward came at all."""
        return self.failed_calls > 0 or self.answers == self.asked


def missing_margins(annotated: Path) -> Missing:
    """Pairs without a δ; `annotate` ends with an error where a request has no reply."""
    rows = read_rows(annotated)
    return Missing(sum(row["delta"] is None for row in rows), len(rows), 0)


def missing_rewards(policy: Path, completions_per_step: int) -> Missing:
    """Of a run of `align grouped`, from its log.

    An answer that was cut at the length limit is to have no reward, and does not count.

    Raises:
        RuntimeError: no line says anything of rewards: nothing was asked.
    """
    history = json.loads((policy / "run" / "history.json").read_text(encoding="utf-8"))
    lines = [line for line in history if any(name.endswith(_NULL) for name in line)]
    if not lines:
        raise RuntimeError(f"{policy.name}: its log holds no reward")

    def total(ending: str) -> float:
        values = (value for line in lines for name, value in line.items() if name.endswith(ending))
        return sum(values)

    # Shares of a step's answers, in floating point; failed calls are counted by themselves.
    cut = round(total(_CUT) * completions_per_step)
    null = round(total(_NULL) * completions_per_step)
    return Missing(null - cut, len(lines) * completions_per_step - cut, round(total(_FAILED)))
