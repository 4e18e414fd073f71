"""A monotone map from delta to the probability that the chosen answer is better.

Exchanging the answers turns delta and the outcome around, so the sample is (delta, 1) and (-delta,
0) of every pair, and its isotonic regression is symmetric: P(-delta) = 1 - P(delta). That is the
same as an isotonic regression of being right on |delta| with the floor 1/2, which is what is fitted
here (scikit-learn's IsotonicRegression) and why only the positive half is kept.

One error that did not happen, at the largest |delta|, is added to the sample: the last block would
otherwise say 1 wherever the pairs end without an error, and the log loss of the next error there
would be infinite. With n pairs in that block it says n / (n + 1).

Such a map has as many degrees of freedom as blocks, and nearly always fits its own sample better
than a temperature does. Whether it fits the next sample better is what `cross_validation` asks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DECIMALS = 6

Knots = list[tuple[float, float]]
"""(|delta|, probability), as `Calibration.knots`."""


def fit_knots(deltas: NDArray[np.float64]) -> Knots:
    """The map's knots; a delta of zero is 1/2 in every such map and takes no part.

    Raises:
        ValueError: no delta but zero.
    """
    from sklearn.isotonic import IsotonicRegression

    others = deltas[deltas != 0.0]
    if not len(others):
        raise ValueError("every delta is zero")
    sizes = np.abs(others)
    fitted = IsotonicRegression(y_min=0.5, y_max=1.0).fit(
        np.append(sizes, sizes.max()), np.append(others > 0.0, False).astype(np.float64)
    )
    highest = 1.0 - 10.0**-_DECIMALS
    knots: Knots = []
    for size, height in zip(fitted.X_thresholds_, fitted.y_thresholds_, strict=True):
        knots.append((float(size), min(round(float(height), _DECIMALS), highest)))
    return knots
