"""From scores to what MM-DPO consumes: mean and standard error, delta, probability, beta.

score       mean of the scores of the K critiques that are good (MM-RLHF averages them, too)
stderr      their standard deviation (n - 1) over sqrt(n): noise of decoding, not of the model
delta       score(chosen) - score(rejected)
calibrated  delta / T, T from the checkpoint's calibration, whatever its method
prob        sigmoid(delta / T), or the checkpoint's isotonic map; P(-delta) = 1 - P(delta) in both
beta        MM-RLHF's dynamic beta, see mmreward_client.beta
ls_factor   1 - exp(-k delta), the column of the released code of MM-RLHF

The service and `mmreward annotate` share these functions, so that a margin is the same wherever it
is computed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mmreward_client.beta import dynamic_beta
from mmreward_client.schema import Beta


class Calibration(Protocol):
    """What is needed of a checkpoint's calibration for one kind, mode and number of critiques."""

    @property
    def temperature(self) -> float: ...

    @property
    def knots(self) -> Sequence[tuple[float, float]] | None: ...


def mean_and_stderr(scores: Sequence[float]) -> tuple[float, float | None]:
    """Mean of at least one score, and its standard error (None for a single one)."""
    n = len(scores)
    mean = math.fsum(scores) / n
    if n == 1:
        return mean, None
    variance = math.fsum((s - mean) ** 2 for s in scores) / (n - 1)
    return mean, math.sqrt(variance / n)


@dataclass(frozen=True)
class Margin:
    """What is known of a pair when both of its sides have a score."""

    delta: float
    delta_stderr: float | None
    prob: float | None
    delta_calibrated: float | None
    beta: float | None


def margin(
    chosen: tuple[float, float | None],
    rejected: tuple[float, float | None],
    calibration: Calibration | None,
    beta: Beta,
) -> Margin:
    """Compare two (score, stderr) of one prompt.

    The two sides are sampled independently, so their variances add up. Beta is null on the
    calibrated basis where the checkpoint holds no calibration: a raw delta is no substitute.
    """
    delta = chosen[0] - rejected[0]
    stderr = None
    if chosen[1] is not None and rejected[1] is not None:
        stderr = math.hypot(chosen[1], rejected[1])
    calibrated, prob = None, None
    if calibration is not None:
        calibrated = delta / calibration.temperature
        prob = probability(delta, calibration.temperature, calibration.knots)
    basis = calibrated if beta.basis == "calibrated" else delta
    return Margin(
        delta=delta,
        delta_stderr=stderr,
        prob=prob,
        delta_calibrated=calibrated,
        beta=dynamic_beta(basis, beta0=beta.beta0, w=beta.w, k=beta.k),
    )


def probability(
    delta: float, temperature: float, knots: Sequence[tuple[float, float]] | None = None
) -> float:
    """P(the first answer is better): the one formula that fitting and serving share.

    Without knots sigmoid(delta / temperature). With them linear between (0, 1/2) and the knots
    (|delta|, probability), constant beyond the last: what lies outside of the data is not guessed.

    Args:
        knots: as `Calibration.knots`: sizes above 0 and rising, probabilities in [1/2, 1) and not
            falling.
    """
    if knots is None:
        return sigmoid(delta / temperature)
    size = abs(delta)
    place = bisect_left(knots, size, key=_size)
    if place == len(knots):
        upper = knots[-1][1]
    else:
        left = knots[place - 1] if place else (0.0, 0.5)
        right = knots[place]
        share = (size - left[0]) / (right[0] - left[0])
        upper = left[1] + share * (right[1] - left[1])
    return upper if delta >= 0 else 1.0 - upper


def _size(knot: tuple[float, float]) -> float:
    return knot[0]


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def ls_factor(delta: float | None, k: float) -> float | None:
    """1 - exp(-k delta): what the released trainer of MM-RLHF multiplies its w with.

    That code has no upper clip and clamps its beta from below at 1e-3 only, so the value of a
    negative margin is as it comes out. None where there is no margin, or where a very negative one
    exceeds the range of numbers.
    """
    if delta is None:
        return None
    try:
        return -math.expm1(-k * delta)
    except OverflowError:
        return None
