"""Curves of a run as one picture, drawn from the Trainer's own log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Panels = tuple[tuple[str, tuple[str, ...]], ...]
"""Six titles, each with the names of the log that its panel draws."""

PANELS: Panels = (
    ("Loss", ("loss", "critique", "score", "none", "tie")),
    ("Share of training pairs right", ("right",)),
    ("Margin of training pairs", ("margin",)),
    ("Validation accuracy, critiques self-written", ("eval_accuracy",)),
    ("Critiques not finished (share)", ("unfinished",)),
    ("Learning rate", ("learning_rate",)),
)


def draw_curves(history: list[dict[str, Any]], file: Path, panels: Panels) -> None:
    """Write a PNG of what the log holds; a panel without values says so."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        drawn = False
        for name in names:
            points = [(one["step"], one[name]) for one in history if one.get(name) is not None]
            if points and any(value for _, value in points):
                axes.plot(*zip(*points, strict=True), label=name, marker=".", markersize=3)
                drawn = True
        if drawn and len(names) > 1:
            axes.legend(fontsize=8)
        if not drawn:
            axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)
    figure.savefig(file, dpi=110)
