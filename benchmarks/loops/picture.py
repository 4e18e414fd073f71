"""Draws the study: a panel for each comparison, hallucinated and right answers, a dot per seed.

python benchmarks/loops/picture.py benchmarks/results/loops_study.json
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

COLOURS = {"hallucinated": ("#e3a69b", "#7b241c"), "accuracy": ("#9ec3dd", "#1b4f72")}
_COMPARISONS = ("mm_dpo", "grouped", "dense_dpo")


def main(
    result: Annotated[Path, typer.Argument(help="JSON file that study.py wrote")],
    output: Annotated[Path | None, typer.Option(help="PNG file; default: beside the JSON")] = None,
) -> None:
    """Write the picture."""
    seeds = json.loads(result.read_text(encoding="utf-8"))["seeds"]
    target = output or result.with_suffix(".png")
    draw(seeds, [name for name in _COMPARISONS if name in seeds[0]], target)
    print(target)


def draw(seeds: list[dict[str, Any]], comparisons: list[str], output: Path) -> None:
    """`seeds` as `study.one_seed` returns them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(comparisons), figsize=(5.2 * len(comparisons), 3.4), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for panel, comparison in zip(panels[0], comparisons, strict=True):
        measured = {"before": [one["before"] for one in seeds]}
        measured |= {
            name: [one[comparison][name] for one in seeds] for name in seeds[0][comparison]
        }
        for offset, (figure_name, (bar, dot)) in zip((-0.2, 0.2), COLOURS.items(), strict=True):
            for place, runs in enumerate(measured.values()):
                values = [100 * one["sampled"][figure_name] for one in runs]
                label = figure_name if place == 0 else None
                panel.barh(place + offset, fmean(values), height=0.38, color=bar, label=label)
                panel.plot(values, [place + offset] * len(values), "o", color=dot, markersize=4)
        panel.set_yticks(range(len(measured)), list(measured))
        panel.invert_yaxis()
        panel.set_xlim(0, 100)
        panel.set_xlabel("sampled answers about test pictures, %")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    typer.run(main)
