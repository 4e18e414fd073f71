"""Rows of the tables: means over seeds, with the range where there are several.

Differences are paired: of two arms of one seed, which share their start and their rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

HEADER = ["policy", "hallucinated", "false", "accuracy", "unreadable", "characters"]
DIFFERENCE_HEADER = ["policy", "less", "mean", "each seed"]
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


def difference(
    name: str, base: str, measured: Sequence[dict[str, Any]], bases: Sequence[dict[str, Any]]
) -> list[str]:
    """An arm less another one of the same seeds: hallucinated sampled answers, in points."""
    points = [
        100.0 * (one["sampled"]["hallucinated"] - other["sampled"]["hallucinated"])
        for one, other in zip(measured, bases, strict=True)
    ]
    each = ", ".join(f"{one:+.1f}" for one in points)
    return [name, base, f"{statistics.fmean(points):+.1f}", each]


def _spread(values: list[float]) -> str:
    text = f"{statistics.fmean(values):.1f}"
    if len(values) > 1:
        text += f" [{min(values):.1f} to {max(values):.1f}]"
    return text
