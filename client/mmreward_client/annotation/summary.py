"""What a whole data set's margins look like: counts, spread, bounds of β, suspect labels.

order_consistency     before a judge: share of pairs in whose two orders the same answer wins
                      (two ties agree, too); null before a critique model
at_lower, at_upper    share of β within 1 % of its range of either bound: β0 is where margins of
                      zero and less end up, (1 + w) β0 is only approached
suspects              the pairs with the most negative δ: where the reward model most disagrees
                      with the label. Some are errors of the label and some of the model.
"""

from __future__ import annotations

import heapq
import math
import statistics
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmreward_client.schema import Beta

_NEAR = 0.01
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BINS = 40


class Tally:
    """Takes the rows of the output one by one; 16 bytes of memory for each."""

    def __init__(self, beta: Beta, *, suspects: int = 20) -> None:
        self._beta = beta
        self._most = suspects
        self._suspects: list[tuple[float, int, dict[str, Any]]] = []
        self.statuses: Counter[str] = Counter()
        self.trained_on = 0
        self._judged = self._consistent = 0
        self.deltas = array("d")
        self.betas = array("d")

    def add(self, row: Mapping[str, Any], *, is_tie: bool = False) -> None:
        self.statuses[row["status"]] += 1
        self.trained_on += row.get("trained_on") is True
        if row.get("orders") is not None:
            forward, backward = row["orders"]
            self._judged += 1
            self._consistent += _sign(forward) == _sign(backward)
        if row["beta"] is not None:
            self.betas.append(row["beta"])
        delta = row["delta"]
        if delta is None:
            return
        self.deltas.append(delta)
        # A tie has no label that could be wrong.
        if delta < 0 and not is_tie:
            told = ("line", "id", "chosen_place", "rejected_place", "delta", "prob")
            suspect = {name: row[name] for name in told if name in row}
            heapq.heappush(self._suspects, (-delta, -len(self.deltas), suspect))
            if len(self._suspects) > self._most:
                heapq.heappop(self._suspects)

    def suspects(self) -> list[dict[str, Any]]:
        """The most negative margins first."""
        return [suspect for _, _, suspect in sorted(self._suspects, key=_worst_first)]

    def figures(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        pairs = self.statuses.total()
        return {
            "pairs": pairs,
            "scored": len(self.deltas),
            "failed": {name: n for name, n in self.statuses.most_common() if name != "ok"},
            "trained_on": self.trained_on,
            "order_consistency": _share(self._consistent, self._judged),
            "delta": _spread(self.deltas)
            | {
                "positive": _share(sum(delta > 0 for delta in self.deltas), len(self.deltas)),
                "histogram": histogram(self.deltas),
            },
            "beta": {**self._beta.model_dump(), **_spread(self.betas), **self._bounds()},
            "suspects": self.suspects(),
        }

    def _bounds(self) -> dict[str, float | None]:
        low, high = self._beta.beta0, (1 + self._beta.w) * self._beta.beta0
        near = _NEAR * (high - low)
        at_lower = sum(beta <= low + near for beta in self.betas)
        at_upper = sum(beta >= high - near for beta in self.betas)
        total = len(self.betas)
        return {"at_lower": _share(at_lower, total), "at_upper": _share(at_upper, total)}


def histogram(values: Sequence[float], *, bins: int = _BINS) -> dict[str, list[float]] | None:
    """Counts in about `bins` bins of equal width, with zero at an edge; None without a value.

    `edges` has one more entry than `counts`.
    """
    if not values:
        return None
    low, high = min(values), max(values)
    # Where all values are equal, or so close that their number cannot be told apart, one bin.
    width = max((high - low) / bins, 1e-9 * max(abs(low), abs(high), 1.0))
    first, last = math.floor(low / width), math.floor(high / width)
    # The quotient of two floats may be rounded over an edge.
    first -= first * width > low
    last += (last + 1) * width < high
    counts = [0] * (last - first + 1)
    for value in values:
        counts[min(max(math.floor(value / width), first), last) - first] += 1
    return {"edges": [i * width for i in range(first, last + 2)], "counts": list(counts)}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, "stdev": None, "quantiles": None}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "mean": statistics.fmean(ordered),
        "stdev": statistics.stdev(ordered) if last else None,
        "quantiles": {f"{share:g}": ordered[round(share * last)] for share in _QUANTILES},
    }


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _sign(delta: float) -> int:
    return (delta > 0) - (delta < 0)


def _worst_first(entry: tuple[float, int, dict[str, Any]]) -> tuple[float, int]:
    return -entry[0], -entry[1]
