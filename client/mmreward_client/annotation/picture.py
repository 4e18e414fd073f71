"""The summary of a data set's margins as one picture. matplotlib is imported when it is drawn."""

from __future__ import annotations

from pathlib import Path

from mmreward_client.annotation.summary import Tally
from mmreward_client.schema import Beta

_BLUE, _RED, _GREY = "#2a6f97", "#c8553d", "#888888"
_BINS = 40


def draw(tally: Tally, beta: Beta, path: Path) -> bool:
    """Histograms of δ and of β side by side; false if there is nothing to draw.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written.
    """
    if not tally.deltas:
        return False
    # Figure alone, without pyplot: no display, no state shared with the caller's own plots.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    against = sum(delta < 0 for delta in tally.deltas)
    left.hist(list(tally.deltas), bins=_BINS, color=_BLUE)
    left.axvline(0.0, color=_RED, linewidth=1)
    left.set(
        title=f"{len(tally.deltas)} margins, {against} against the label",
        xlabel="δ = score(chosen) - score(rejected)",
        ylabel="pairs",
    )
    right.hist(list(tally.betas), bins=_BINS, color=_BLUE)
    for bound in (beta.beta0, (1 + beta.w) * beta.beta0):
        right.axvline(bound, color=_GREY, linestyle=":", linewidth=1)
    right.set(title=f"β on the {beta.basis} basis, and its bounds", xlabel="β", ylabel="pairs")
    figure.savefig(path, format="png")
    return True
