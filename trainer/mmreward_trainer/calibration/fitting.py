"""The whole fit of one way of scoring: the map, why it is this one, and how far it can be believed.

The temperature is fitted in any case, since `delta_calibrated` comes from it. `prob` comes from the
isotonic map where that predicts held-out pairs better beyond the noise (`auto`), or where it is
asked for. All errors "after" are held out; those "before" are of the map that the checkpoint held
until now, or of sigmoid(delta) where it held none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mmreward_service.reward.spec import Calibration, Kind
from numpy.typing import NDArray

from mmreward_trainer.calibration.cross_validation import (
    Gain,
    Method,
    held_out,
    isotonic_gain,
    stated,
)
from mmreward_trainer.calibration.isotonic import fit_knots
from mmreward_trainer.calibration.margins import Margins
from mmreward_trainer.calibration.reliability import Reliability, measure
from mmreward_trainer.calibration.temperature import fit_temperature

Choice = Literal["auto", "temperature", "isotonic"]
CHOICES: tuple[Choice, ...] = ("auto", "temperature", "isotonic")

_BAND_SAMPLES = 200
_BAND_PLACES = 19


@dataclass(frozen=True)
class BeforeAfter:
    """Errors on one part of the pairs."""

    pairs: int
    errors: int
    before: Reliability
    after: Reliability


@dataclass(frozen=True)
class Fit:
    """A calibration and what speaks for it.

    Attributes:
        replaced: what the checkpoint held for this way of scoring.
        gain: of the isotonic map over the temperature, held out.
        held_out: errors of each method on pairs that its maps had not seen.
        raw: errors of sigmoid(delta).
        in_sample: errors of the chosen map on the pairs it was fitted on: flattering.
        overall, categories: before and after, after held out.
        before, after: (pairs,) the probabilities behind them.
        zero_margins: pairs with a delta of exactly zero.
        band_95: (|delta|, low, high) of the chosen map by bootstrap over groups.
    """

    margins: Margins
    calibration: Calibration
    replaced: Calibration | None
    gain: Gain
    held_out: Mapping[Method, Reliability]
    raw: Reliability
    in_sample: Reliability
    overall: BeforeAfter
    categories: Mapping[str, BeforeAfter]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    zero_margins: int
    band_95: tuple[tuple[float, float, float], ...]


def fit(
    margins: Margins,
    *,
    kind: Kind = "critique",
    choice: Choice = "auto",
    replaced: Calibration | None = None,
    overlap_checked: bool = False,
    seed: int = 0,
) -> Fit:
    """Fit, choose and measure.

    Raises:
        CalibrationError: the pairs do not allow a fit, see `fit_temperature`.
    """
    deltas, groups = margins.deltas, margins.groups
    temperature = fit_temperature(
        deltas,
        mode=margins.mode,
        critiques=margins.critiques,
        kind=kind,
        seed=seed,
        groups=groups,
    )
    unseen = held_out(deltas, groups, seed=seed)
    gain = isotonic_gain(unseen, groups)
    method: Method = "temperature"
    if choice == "isotonic" or (choice == "auto" and gain.is_clear):
        method = "isotonic"
    knots = fit_knots(deltas) if method == "isotonic" else None
    calibration = Calibration.model_validate(
        {
            **temperature.model_dump(),
            "method": method,
            "knots": knots,
            "overlap_checked": overlap_checked,
        }
    )
    old = (1.0, None) if replaced is None else (replaced.temperature, replaced.knots)
    before, after = stated(deltas, *old), unseen[method]
    parts = {
        name: np.array([one == name for one in margins.categories])
        for name in dict.fromkeys(margins.categories)
    }
    return Fit(
        margins=margins,
        calibration=calibration,
        replaced=replaced,
        gain=gain,
        held_out={name: measure(found, seed=seed) for name, found in unseen.items()},
        raw=measure(stated(deltas, 1.0), seed=seed),
        in_sample=measure(stated(deltas, calibration.temperature, knots), seed=seed),
        overall=_before_after(deltas, before, after, seed),
        categories={
            name: _before_after(deltas[part], before[part], after[part], seed)
            for name, part in parts.items()
            if len(parts) > 1
        },
        before=before,
        after=after,
        zero_margins=int((deltas == 0.0).sum()),
        band_95=_band(deltas, groups, calibration, seed),
    )


def _before_after(
    deltas: NDArray[np.float64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    seed: int,
) -> BeforeAfter:
    return BeforeAfter(
        pairs=len(deltas),
        errors=int((deltas < 0.0).sum()),
        before=measure(before, seed=seed),
        after=measure(after, seed=seed),
    )


def _band(
    deltas: NDArray[np.float64], groups: NDArray[np.int64], calibration: Calibration, seed: int
) -> tuple[tuple[float, float, float], ...]:
    """Where 95 % of the maps of resampled pairs lie, at quantiles of |delta|."""
    places = np.quantile(np.abs(deltas), np.linspace(0.05, 0.95, _BAND_PLACES))
    if calibration.method == "temperature":
        # P falls as the temperature rises, so the ends of one interval are the ends of the other.
        ends = [stated(places, end or calibration.temperature) for end in calibration.interval_95]
        return tuple(zip(places.tolist(), ends[1].tolist(), ends[0].tolist(), strict=True))
    rng = np.random.default_rng(seed)
    members = np.unique(groups, return_inverse=True)[1]
    count = int(members.max()) + 1
    drawn = []
    for _ in range(_BAND_SAMPLES):
        times = np.bincount(rng.integers(count, size=count), minlength=count)[members]
        knots = fit_knots(np.repeat(deltas, times))
        drawn.append(stated(places, calibration.temperature, knots))
    low, high = np.quantile(np.stack(drawn), (0.025, 0.975), axis=0)
    return tuple(zip(places.tolist(), low.tolist(), high.tolist(), strict=True))
