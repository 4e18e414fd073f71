"""Rows of the tables: means over seeds, with the range where there are several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

HEADER = ["policy", "hallucinated", "false", "accuracy", "unreadable", "characters"]
_PER_CENT = ("hallucinated", "false", "accuracy", "unreadable")


def row(name: str, measured: Sequence[dict[str, Any]]) -> list[str]:
    """One policy, `measured` by seed: sampled figures, greedy ones in brackets."""
    cells = [name]
    for figure in HEADER[1:]:
        factor = 100.0 if figure in _PER_CENT else 1.0
        sampled, greedy = (
            [factor * one[way][figure] for one in measured] for way in ("sampled", "greedy")
        )
        cells.append(f"{_spread(sampled)} ({statistics.fmean(greedy):.1f})")
    return cells


def _spread(values: list[float]) -> str:
    text = f"{statistics.fmean(values):.1f}"
    if len(values) > 1:
        text += f" [{min(values):.1f} to {max(values):.1f}]"
    return text
