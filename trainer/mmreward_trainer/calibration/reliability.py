"""How far stated probabilities can be believed: log loss, Brier score, calibration error.

In a validation set the chosen answer is always the better one, so P is folded at one half, and the
reliability curve, its bins and the expected calibration error are those of `mmreward evaluate`
(`mmreward_client.evaluation.curves`): one definition for both.

A calibration error of binned frequencies is above zero even for perfect probabilities, the more so
the fewer pairs there are. `ece_if_perfect` is its mean where outcomes are drawn from the stated
probabilities themselves: an error near it is no sign of anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmreward_client.evaluation.curves import calibration
from mmreward_client.evaluation.judged import Judged
from numpy.typing import NDArray

from mmreward_trainer.calibration.cross_validation import log_losses

_PERFECT_DRAWS = 200
_MOST_OUTCOMES = 1_000_000  # drawn in all: with many pairs a few draws are as exact


@dataclass(frozen=True)
class Reliability:
    """Errors of stated probabilities over `pairs` pairs; log loss in nats a pair."""

    pairs: int
    log_loss: float
    brier: float
    ece: float
    ece_if_perfect: float


def measure(probabilities: NDArray[np.float64], *, seed: int = 0) -> Reliability:
    """Errors of P(chosen is better), (pairs,), at least one."""
    found = calibration(judged(probabilities))
    assert found is not None
    return Reliability(
        pairs=found.pairs,
        log_loss=float(log_losses(probabilities).mean()),
        brier=found.brier,
        ece=found.ece,
        ece_if_perfect=_ece_if_perfect(probabilities, [one.total for one in found.bins], seed),
    )


def _ece_if_perfect(probabilities: NDArray[np.float64], totals: list[int], seed: int) -> float:
    """Mean ECE of outcomes that are drawn from the probabilities, in the same bins.

    A pair that is right is one whose outcome is the likelier one, so the confidences, and with them
    the bins, are the same in every draw.
    """
    confidences = np.sort(np.maximum(probabilities, 1.0 - probabilities))
    starts = np.cumsum([0, *totals[:-1]])
    expected = np.add.reduceat(confidences, starts)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(max(10, min(_PERFECT_DRAWS, _MOST_OUTCOMES // len(confidences)))):
        right = np.add.reduceat((rng.random(len(confidences)) < confidences).astype(float), starts)
        found.append(float(np.abs(right - expected).sum()) / len(confidences))
    return float(np.mean(found))


def judged(probabilities: NDArray[np.float64]) -> list[Judged]:
    """Pairs that have a `prob` and nothing else, for the curves of the evaluation."""
    return [Judged(id="", rewards=(0.0, 0.0), prob=float(one)) for one in probabilities]


def expected_calibration_error(
    probabilities: Sequence[float] | NDArray[np.float64],
    outcomes: Sequence[bool] | NDArray[np.bool_],
    bins: int = 15,
) -> float:
    """Mean gap of stated probability and share of true outcomes, over bins of equal width."""
    stated = np.asarray(probabilities, dtype=np.float64)
    true = np.asarray(outcomes, dtype=np.float64)
    if stated.shape != true.shape or stated.size == 0:
        raise ValueError("probabilities and outcomes must be of one length, and not empty")
    places = np.minimum((stated * bins).astype(int), bins - 1)
    error = 0.0
    for place in np.unique(places):
        member = places == place
        error += member.mean() * abs(stated[member].mean() - true[member].mean())
    return float(error)
