"""Pictures of the dashboards, drawn from the answers of a live Prometheus with matplotlib.

What is drawn are the panels' own questions with their answers, in the panels' places. It is not
Grafana: fonts, colours and scales are matplotlib's, and the pictures say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from boards import BOARDS
from live.asking import Answer, answers
from live.prometheus import Prometheus
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

_CELL_IN = 0.72, 0.36
_HEAD_CELLS = 2.4
_DARK = "#333333"
_COLOURS = {
    "green": "#56a64b", "yellow": "#e0b400", "orange": "#ff780a", "red": "#e02f44",
    "purple": "#a352cc", "blue": "#3274d9", "dark-red": "#8b0f1e",
}  # fmt: skip


def draw_all(
    prometheus: Prometheus, folder: Path, *, seconds: float, rate_window: str
) -> Iterator[Path]:
    """One picture per dashboard, of the last seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        reasons = {panel.title: panel.empty_because for panel in board.panels}
        path = folder / f"dashboard-{board.uid.removeprefix('mmreward-')}.png"
        asked = {"seconds": seconds, "step_s": max(1.0, seconds / 200), "rate_window": rate_window}
        _draw(prometheus, board.render(), reasons, path, asked)
        yield path


def _draw(
    prometheus: Prometheus,
    board: Mapping[str, Any],
    reasons: Mapping[str, str | None],
    path: Path,
    asked: dict[str, Any],
) -> None:
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    width, height = 24 * _CELL_IN[0], (rows + _HEAD_CELLS) * _CELL_IN[1]
    figure = plt.figure(figsize=(width, height), dpi=75, facecolor="white")

    def box(place: Mapping[str, int], margins: tuple[float, float, float, float]) -> Axes:
        """Axes in a panel's place; margins left, right, top, bottom in inches."""
        left, right, top, bottom = margins
        x = place["x"] * _CELL_IN[0] + left
        y = height - (place["y"] + _HEAD_CELLS + place["h"]) * _CELL_IN[1] + bottom
        w = place["w"] * _CELL_IN[0] - left - right
        h = place["h"] * _CELL_IN[1] - top - bottom
        return figure.add_axes((x / width, y / height, w / width, h / height))

    at = 1 - 0.5 * _CELL_IN[1] / height
    figure.text(0.008, at, board["title"], size=17, weight="bold", va="top")
    note = (
        "Rendering of the dashboard's queries by matplotlib, answered by a live Prometheus "
        f"over {asked['seconds']:.0f} s of demo load with the bundled model. Not Grafana."
    )
    figure.text(0.992, at, note, size=10, color="#666666", va="top", ha="right")
    for panel in board["panels"]:
        if panel["type"] == "row":
            axes = box(panel["gridPos"], (0.1, 0.1, 0.0, 0.0))
            axes.axis("off")
            axes.text(0, 0.45, panel["title"], size=12, weight="bold", color=_DARK, va="center")
            continue
        found = answers(prometheus, panel, **asked)
        _panel(box, panel, found, reasons[panel["title"]])
    figure.savefig(path, pil_kwargs={"optimize": True})
    plt.close(figure)


def _panel(box: Any, panel: Mapping[str, Any], found: list[Answer], reason: str | None) -> None:
    kind, place = panel["type"], panel["gridPos"]
    small = kind in ("stat", "table")
    axes = box(place, (0.15, 0.15, 0.36, 0.12) if small else (0.62, 0.15, 0.36, 0.62))
    axes.set_title(panel["title"], size=10, loc="left", color=_DARK)
    if not any(answer.series for answer in found):
        axes.axis("off")
        axes.text(0.5, 0.5, f"no data: {reason or 'none'}", ha="center", size=9, wrap=True)
    elif kind == "stat":
        _number(axes, panel, found)
    elif kind == "table":
        _table(axes, found)
    elif kind == "heatmap":
        _heat(axes, panel, found[0])
    else:
        _lines(axes, panel, found)


def _number(axes: Axes, panel: Mapping[str, Any], found: list[Answer]) -> None:
    axes.axis("off")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    answer = found[0]
    several = len(answer.series) > 1
    text = "\n".join(
        (f"{answer.name(one['metric'])} " if several else "")
        + _written(float(one["values"][-1][1]), unit)
        for one in answer.series
    )
    axes.text(0.5, 0.5, text, ha="center", va="center", size=13 if several else 20)


def _table(axes: Axes, found: list[Answer]) -> None:
    axes.axis("off")
    hidden = {"__name__", "job", "instance"}
    text = "\n\n".join(
        "\n".join(
            f"{key}: {value[:28]}" for key, value in one["metric"].items() if key not in hidden
        )
        for one in found[0].series
    )
    axes.text(0, 0.95, text, va="top", size=9, family="monospace")


def _lines(axes: Axes, panel: Mapping[str, Any], found: list[Answer]) -> None:
    fixed = {
        one["matcher"]["options"]: _COLOURS[one["properties"][0]["value"]["fixedColor"]]
        for one in panel["fieldConfig"]["overrides"]
    }
    defaults = panel["fieldConfig"]["defaults"]
    drawn = [
        (answer.name(one["metric"]), [(float(t), float(v)) for t, v in one["values"]])
        for answer in found
        for one in answer.series
    ]
    start = min(points[0][0] for _, points in drawn)
    below: dict[float, float] = {}
    is_stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    for name, points in drawn:
        if is_stacked and not any(value > 0 for _, value in points):
            continue
        times = [time - start for time, _ in points]
        base = [below.get(time, 0.0) for time, _ in points]
        tops = [
            value + (b if is_stacked else 0) for (_, value), b in zip(points, base, strict=True)
        ]
        colour = fixed.get(name)
        (line,) = axes.plot(times, tops, lw=1.2, label=name, color=colour)
        if is_stacked:
            axes.fill_between(times, base, tops, alpha=0.3, color=line.get_color())
            below.update({time: top for (time, _), top in zip(points, tops, strict=True)})
    if "max" in defaults:
        axes.set_ylim(0, 1.05 * defaults["max"])
    elif all(value >= 0 for _, points in drawn for _, value in points):
        axes.set_ylim(bottom=0)
    _dress(axes, defaults["unit"])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            ncols=6, fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1),
            columnspacing=1, handlelength=1,
        )  # fmt: skip


def _heat(axes: Axes, panel: Mapping[str, Any], answer: Answer) -> None:
    """Cumulative buckets become the counts of each; empty ones at both ends are left out."""
    by_bound = {
        float(one["metric"]["le"]): {float(t): float(v) for t, v in one["values"]}
        for one in answer.series
    }
    bounds = sorted(by_bound)
    times = sorted({time for values in by_bound.values() for time in values})
    below = [0.0] * len(times)
    counts = []
    for bound in bounds:
        level = [by_bound[bound].get(time, 0.0) for time in times]
        counts.append([max(0.0, one - other) for one, other in zip(level, below, strict=True)])
        below = level
    filled = [index for index, row in enumerate(counts) if sum(row) > 0.5] or [0]
    first, last = filled[0], filled[-1]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    every = 1 + (last - first) // 10
    axes.imshow(
        counts[first : last + 1],
        aspect="auto", origin="lower", cmap="Oranges", norm=PowerNorm(0.5), interpolation="nearest",
        extent=(0, times[-1] - times[0], -0.5, last - first + 0.5),
    )  # fmt: skip
    axes.set_yticks(
        range(0, last - first + 1, every),
        ["≤ " + _written(bounds[index], unit) for index in range(first, last + 1, every)],
    )
    axes.tick_params(labelsize=7)
    axes.set_xlabel("seconds", size=8)


def _dress(axes: Axes, unit: str) -> None:
    axes.yaxis.set_major_formatter(lambda value, _: _written(value, unit))
    axes.tick_params(labelsize=8, colors=_DARK)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _written(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB" if value >= 2**20 else f"{value / 1024:.3g} KiB"
    end = {"reqps": " req/s", "ops": " /s"}.get(unit, "")
    return f"{value:.3g}{end}" if abs(value) < 1000 else f"{value:,.0f}{end}"
