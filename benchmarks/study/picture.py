"""Draws the study: one panel per source, a dot per seed, its mean as a bar, baselines as lines.

python benchmarks/study/picture.py benchmarks/results/critique_study.json
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

BAR, DOT = "#9ec3dd", "#1b4f72"
BASELINES = {"random": ":", "longer_wins": "--", "commoner_wins": "-."}


def main(
    result: Annotated[Path, typer.Argument(help="JSON file that study.py wrote")],
    output: Annotated[Path | None, typer.Option(help="PNG file; default: beside the JSON")] = None,
) -> None:
    """Write the picture."""
    target = output or result.with_suffix(".png")
    draw(json.loads(result.read_text(encoding="utf-8")), target)
    print(target)


def draw(result: dict[str, Any], output: Path) -> None:
    """`result` as `study.report` writes it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    variants, sources = result["variants"], result["baselines"]
    names = list(variants)
    figure, panels = pyplot.subplots(
        1, len(sources), figsize=(3.1 * len(sources) + 2.6, 0.42 * len(names) + 1.7),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for panel, (source, beside) in zip(panels[0], sources.items(), strict=True):
        for row, name in enumerate(names):
            values = [100 * one[source]["right"] / one[source]["pairs"] for one in variants[name]]
            panel.barh(row, mean(values), color=BAR)
            panel.plot(values, [row] * len(values), "o", color=DOT, markersize=4)
        for baseline, style in BASELINES.items():
            label = baseline.replace("_", " ")
            panel.axvline(100 * beside[baseline], color="0.3", linestyle=style, lw=1, label=label)
        pairs = next(iter(variants.values()))[0][source]["pairs"]
        panel.set_title(f"{source}, {pairs} test pairs", fontsize=10)
        panel.set_xlim(0, 100)
        panel.set_xlabel("right, %")
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    typer.run(main)
