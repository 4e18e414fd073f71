"""Probabilities of pairs from maps that have not seen them, and which kind of map is better.

Pairs are split into folds by whole groups (scikit-learn's GroupKFold); each fold's probabilities
come from maps that were fitted on the others. Everything that is said of a map's error is said of
these: an isotonic map is nearly perfect on its own sample whatever the truth.

The better map is the one with the smaller log loss, a proper score: its expectation is smallest for
the true probabilities. The standard error of a mean difference is taken over groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mmreward_service.reward.margin import probability
from numpy.typing import NDArray

from mmreward_trainer.calibration.isotonic import Knots, fit_knots
from mmreward_trainer.calibration.temperature import best_temperature

Method = Literal["temperature", "isotonic"]

FOLDS = 10
STANDARD_ERRORS = 2.0
"""How far isotonic must be ahead. One would take it by luck in one case of six."""


@dataclass(frozen=True)
class Gain:
    """Mean log loss of the temperature minus that of the isotonic map, held out, in nats a pair."""

    mean: float
    stderr: float

    @property
    def is_clear(self) -> bool:
        """Isotonic is better beyond the noise of the sample."""
        return self.mean > STANDARD_ERRORS * self.stderr


def stated(
    deltas: NDArray[np.float64], temperature: float, knots: Knots | None = None
) -> NDArray[np.float64]:
    """(pairs,) P(chosen is better), by the formula that serves."""
    return np.array([probability(float(delta), temperature, knots) for delta in deltas])


def held_out(
    deltas: NDArray[np.float64], groups: NDArray[np.int64], *, seed: int = 0
) -> dict[Method, NDArray[np.float64]]:
    """(pairs,) P(chosen is better) by each method, every pair from maps fitted without its group.

    Args:
        deltas, groups: (pairs,); at least two groups.
    """
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(FOLDS, len(np.unique(groups))), shuffle=True, random_state=seed)
    found: dict[Method, NDArray[np.float64]] = {
        "temperature": np.full(len(deltas), np.nan),
        "isotonic": np.full(len(deltas), np.nan),
    }
    for seen, unseen in folds.split(deltas, groups=groups):
        temperature = best_temperature(deltas[seen])
        found["temperature"][unseen] = stated(deltas[unseen], temperature)
        found["isotonic"][unseen] = stated(deltas[unseen], temperature, fit_knots(deltas[seen]))
    return found


def log_losses(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pairs,) -log P(chosen is better); the chosen answer is the better one.

    A sigmoid that has rounded to 0 counts as the smallest number that is none.
    """
    smallest = np.finfo(np.float64).tiny
    losses: NDArray[np.float64] = -np.log(np.maximum(probabilities, smallest))
    return losses


def isotonic_gain(
    probabilities: dict[Method, NDArray[np.float64]], groups: NDArray[np.int64]
) -> Gain:
    """How much better the isotonic map predicts pairs that it has not seen."""
    differences = log_losses(probabilities["temperature"]) - log_losses(probabilities["isotonic"])
    mean = float(differences.mean())
    members = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(members, weights=differences - mean)
    count = len(sums)
    variance = count / (count - 1) * float((sums**2).sum()) / len(differences) ** 2
    return Gain(mean, math.sqrt(variance))
