"""Which comparison is shown when: each pair in both orders, the positions of labels balanced.

A judge that is rewarded for the right order must not profit from a position: in any even stretch of
half an epoch the preferred answer is first as often as second. An epoch shows every pair once in
one order, then every pair once in the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shown:
    """A row of the table, and whether its preferred answer is shown first."""

    row: int
    chosen_first: bool


def schedule(pairs: int, comparisons: int, seed: int) -> list[Shown]:
    """The first comparisons of as many epochs as they need.

    Args:
        pairs: rows to choose from, numbered from 0.
    Raises:
        ValueError: no pairs.
    """
    if pairs < 1:
        raise ValueError("no pairs to show")
    rng = np.random.default_rng(seed)
    shown: list[Shown] = []
    while len(shown) < comparisons:
        order = [int(row) for row in rng.permutation(pairs)]
        first, second = order[0::2], order[1::2]
        shown += _alternating(first, second)
        # In the second half of the epoch every pair changes its order.
        shown += _alternating(_shuffled(second, rng), _shuffled(first, rng))
    return shown[:comparisons]


def _alternating(chosen_first: list[int], chosen_second: list[int]) -> list[Shown]:
    """One of the first kind, one of the second, and so on; one kind may have one more."""
    made: list[Shown] = []
    for i in range(max(len(chosen_first), len(chosen_second))):
        made += [Shown(row, True) for row in chosen_first[i : i + 1]]
        made += [Shown(row, False) for row in chosen_second[i : i + 1]]
    return made


def _shuffled(rows: list[int], rng: np.random.Generator) -> list[int]:
    return [rows[i] for i in rng.permutation(len(rows))]
