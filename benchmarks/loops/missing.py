"""Rewards that a loop asked for and did not get, counted from what the loop itself wrote."""

from __future__ import annotations

import json
from pathlib import Path

from loops.rows import read_rows

_NULL = "/null"
_CUT = "/null_incomplete"


def missing_margins(annotated: Path) -> int:
    """Pairs without a δ."""
    return sum(row["delta"] is None for row in read_rows(annotated))


def missing_rewards(policy: Path) -> int:
    """Lines of the log of `align grouped` in which a complete answer had no reward.

    An answer that was cut at the length limit is to have none, and does not count.

    Raises:
        RuntimeError: no line says anything of rewards: nothing was asked.
    """
    history = json.loads((policy / "run" / "history.json").read_text(encoding="utf-8"))
    lines = [line for line in history if any(name.endswith(_NULL) for name in line)]
    if not lines:
        raise RuntimeError(f"{policy.name}: its log holds no reward")
    return sum(_of_line(line) > 0 for line in lines)


def _of_line(line: dict[str, float]) -> float:
    null = sum(value for name, value in line.items() if name.endswith(_NULL))
    cut = sum(value for name, value in line.items() if name.endswith(_CUT))
    # Shares in floating point.
    return round(null - cut, 6)
