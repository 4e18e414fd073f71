"""From delta to a probability: one temperature, fitted on validation pairs.

    P(chosen is better) = sigmoid(delta / T),  T minimises  mean_i log(1 + exp(-delta_i / T))

over pairs whose better answer is known (Guo et al., arXiv 1706.04599, temperature scaling, for a
Bradley-Terry margin). A temperature rescales delta; it adds no information to it.

The likelihood is decided by the pairs on the wrong side: without enough of them the best T is
close to zero and means nothing, so a fit on fewer than `MIN_ERRORS` is refused. A delta of exactly
zero says 1/2 at every T: it is a pair, and no error that a fit could rest on.

The interval is a bootstrap (percentile method) over groups of pairs that are not independent of
each other: a resample draws whole groups, and with groups of one it is the ordinary bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from mmreward_service.reward.spec import Calibration
from numpy.typing import NDArray

MIN_ERRORS = 30
MIN_GROUPS = 10
BOOTSTRAP_SAMPLES = 500
_LOWEST, _HIGHEST = 1e-3, 1e3  # times the root mean square of the deltas


class CalibrationError(ValueError):
    """The pairs do not allow a fit; the message says why."""


def fit_temperature(
    deltas: Sequence[float] | NDArray[np.float64],
    *,
    mode: Literal["generate", "given", "none"],
    critiques: int = 1,
    kind: Literal["critique", "judge"] = "critique",
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> Calibration:
    """Fit T on deltas of chosen minus rejected, one per pair.

    Args:
        groups: the number of the group of each pair; None: all pairs are independent.

    Raises:
        CalibrationError: a delta is not finite, fewer than MIN_ERRORS pairs are wrong, all pairs
            hang together in fewer than MIN_GROUPS groups, or the deltas point the wrong way on the
            whole, so that no positive T fits.
    """
    values = np.asarray(deltas, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise CalibrationError("deltas must be a list of finite numbers")
    errors = int((values < 0.0).sum())
    if errors < MIN_ERRORS:
        raise CalibrationError(
            f"{errors} of {len(values)} pairs are wrong, a fit needs {MIN_ERRORS}: "
            "add pairs, hard ones above all"
        )
    if values.mean() <= 0.0:
        raise CalibrationError("the mean delta is not positive: no temperature can fit")
    temperature = best_temperature(values)
    draws = _bootstrap(values, groups, seed, temperature)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Calibration(
        kind=kind,
        mode=mode,
        critiques=critiques,
        temperature=_rounded(temperature),
        interval_95=(_rounded(low), _rounded(high)),
        errors=errors,
        pairs=len(values),
    )


def best_temperature(
    deltas: NDArray[np.float64],
    start: float | None = None,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """The maximum-likelihood T. The loss is convex in 1/T, so Newton with bisection finds it.

    Args:
        start: where the search begins; None: at the size of the deltas.
        weights: how often each pair counts; None: once.
    """
    counts = np.ones_like(deltas) if weights is None else weights
    scale = math.sqrt(float(np.average(deltas**2, weights=counts)))
    if scale == 0.0:
        return 1.0
    sizes = deltas / scale
    low, high = 1.0 / _HIGHEST, 1.0 / _LOWEST
    slope = 1.0 if start is None else min(max(scale / start, low), high)
    for _ in range(100):
        weight = counts * _sigmoid(-sizes * slope)
        gradient = -float(np.sum(sizes * weight))
        if gradient > 0.0:
            high = slope
        else:
            low = slope
        curvature = float(np.sum(sizes**2 * weight * _sigmoid(sizes * slope)))
        step = slope - gradient / curvature if curvature > 0.0 else math.inf
        previous = slope
        slope = step if low < step < high else math.sqrt(low * high)
        if abs(slope - previous) < 1e-7 * slope:
            break
    return scale / slope


def _bootstrap(
    values: NDArray[np.float64], groups: NDArray[np.int64] | None, seed: int, start: float
) -> list[float]:
    """Temperatures of resamples that draw whole groups."""
    members = (
        np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    count = int(members.max()) + 1
    if count < MIN_GROUPS:
        raise CalibrationError(
            f"the pairs share pictures or ids so that they are {count} groups: an interval needs "
            f"{MIN_GROUPS}"
        )
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(BOOTSTRAP_SAMPLES):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count)
        draws.append(best_temperature(values, start, drawn[members].astype(np.float64)))
    return draws


def _rounded(temperature: float) -> float:
    """Five digits of any size: a head may have scores of thousandths or of thousands."""
    return float(f"{temperature:.5g}")


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
