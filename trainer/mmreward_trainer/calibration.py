"""From delta to a probability: one temperature, fitted on validation pairs.

    P(chosen is better) = sigmoid(delta / T),  T minimises  mean_i log(1 + exp(-delta_i / T))

over pairs whose better answer is known (Guo et al., arXiv 1706.04599, temperature scaling, for a
Bradley-Terry margin). A temperature rescales delta; it adds no information to it.

The likelihood is decided by the pairs on the wrong side: without enough of them the best T is
close to zero and means nothing, so a fit on fewer than `MIN_ERRORS` is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from mmreward_service.reward.spec import Calibration
from numpy.typing import NDArray

MIN_ERRORS = 30
BOOTSTRAP_SAMPLES = 500
_LOWEST, _HIGHEST = 1e-3, 1e3


class CalibrationError(ValueError):
    """The pairs do not allow a fit; the message says why."""


def fit_temperature(
    deltas: Sequence[float] | NDArray[np.float64],
    *,
    mode: Literal["generate", "given", "none"],
    critiques: int = 1,
    kind: Literal["critique", "judge"] = "critique",
    seed: int = 0,
) -> Calibration:
    """Fit T on deltas of chosen minus rejected, one per pair; a tie counts as an error.

    The 95 % interval is a bootstrap over pairs. If pairs share pictures it is too narrow.

    Raises:
        CalibrationError: a delta is not finite, fewer than MIN_ERRORS pairs are wrong, or the
            deltas point the wrong way on the whole, so that no positive T fits.
    """
    values = np.asarray(deltas, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise CalibrationError("deltas must be a list of finite numbers")
    errors = int((values <= 0.0).sum())
    if errors < MIN_ERRORS:
        raise CalibrationError(
            f"{errors} of {len(values)} pairs are wrong, a fit needs {MIN_ERRORS}: "
            "add pairs, hard ones above all"
        )
    if values.mean() <= 0.0:
        raise CalibrationError("the mean delta is not positive: no temperature can fit")
    temperature = best_temperature(values)
    rng = np.random.default_rng(seed)
    draws = [
        best_temperature(values[rng.integers(len(values), size=len(values))], start=temperature)
        for _ in range(BOOTSTRAP_SAMPLES)
    ]
    low, high = np.quantile(draws, (0.025, 0.975))
    return Calibration(
        kind=kind,
        mode=mode,
        critiques=critiques,
        temperature=round(temperature, 4),
        interval_95=(round(float(low), 4), round(float(high), 4)),
        errors=errors,
        pairs=len(values),
    )


def best_temperature(deltas: NDArray[np.float64], start: float = 1.0) -> float:
    """The maximum-likelihood T. The loss is convex in 1/T, so Newton with bisection finds it."""
    low, high = 1.0 / _HIGHEST, 1.0 / _LOWEST
    slope = 1.0 / start
    for _ in range(100):
        weight = _sigmoid(-deltas * slope)
        gradient = -float(np.mean(deltas * weight))
        if gradient > 0.0:
            high = slope
        else:
            low = slope
        curvature = float(np.mean(deltas**2 * weight * (1.0 - weight)))
        step = slope - gradient / curvature if curvature > 0.0 else math.inf
        previous = slope
        slope = step if low < step < high else math.sqrt(low * high)
        if abs(slope - previous) < 1e-7 * slope:
            break
    return 1.0 / slope


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


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
