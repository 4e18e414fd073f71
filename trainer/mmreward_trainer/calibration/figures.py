"""Reliability before and after, and the map itself, as one PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmreward_client.evaluation.curves import accuracy_by_margin
from mmreward_client.evaluation.figures import draw_reliability
from mmreward_client.evaluation.judged import Judged

from mmreward_trainer.calibration.cross_validation import stated
from mmreward_trainer.calibration.fitting import Fit
from mmreward_trainer.calibration.reliability import judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAP, _OLD, _DATA = "#2a6f97", "#888888", "#c8553d"


def draw_fit(fit: Fit, path: Path) -> None:
    """Three panels: reliability before, reliability held out, the map over |δ|.

    Raises:
        OSError: the file cannot be written.
    """
    # Figure alone, without pyplot: no display is needed, and nothing of the caller's is shared.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.0, 4.4), dpi=120, layout="constrained")
    before, after, over_size = figure.subplots(1, 3)
    name = "sigmoid(δ)" if fit.replaced is None else "the checkpoint until now"
    for axes, probabilities, title in (
        (before, fit.before, f"Before: {name}"),
        (after, fit.after, f"After: {fit.calibration.method}, held out"),
    ):
        draw_reliability(judged(probabilities), axes)
        axes.set_title(f"{title}\n{axes.get_title()}", fontsize=9)
    _draw_map(fit, over_size)
    figure.savefig(path)


def _draw_map(fit: Fit, axes: Axes) -> None:
    calibration, deltas = fit.calibration, fit.margins.deltas
    sizes = np.linspace(0.0, float(np.abs(deltas).max()), 400)
    points = accuracy_by_margin(Judged(id="", rewards=(float(one), 0.0)) for one in deltas)
    heights = [one.accuracy for one in points]
    bars = [
        [max(0.0, one.accuracy - one.interval[0]) for one in points],
        [max(0.0, one.interval[1] - one.accuracy) for one in points],
    ]
    axes.errorbar(
        [one.mean for one in points], heights, yerr=bars, fmt="o", color=_DATA, capsize=3,
        label="share right, 95 % by Wilson",
    )  # fmt: skip
    axes.plot(sizes, stated(sizes, 1.0), color=_OLD, linestyle=":", label="sigmoid(δ)")
    scaled = stated(sizes, calibration.temperature)
    if calibration.knots is not None:
        axes.plot(sizes, scaled, color=_OLD, label=f"T = {calibration.temperature:g}")
        axes.plot(sizes, stated(sizes, 1.0, calibration.knots), color=_MAP, label="isotonic")
    else:
        axes.plot(sizes, scaled, color=_MAP, label=f"T = {calibration.temperature:g}")
    places, low, high = zip(*fit.band_95, strict=True)
    axes.fill_between(places, low, high, color=_MAP, alpha=0.2, label="95 % of the map")
    axes.legend(frameon=False, fontsize=8)
    axes.set(
        title=f"{calibration.pairs} pairs, {calibration.errors} errors",
        xlabel="|δ|",
        ylabel="P(the answer that is named better is better)",
        ylim=(0.4, 1.02),
    )
