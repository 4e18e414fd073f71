"""Draws the picture of the README from the results of single_pass.py.

python benchmarks/plot.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring.report import RESULTS
from single_pass import LABELS

OURS, OTHERS = "#1b6ca8", "#b8bfc6"


def main(
    results: Annotated[list[Path] | None, typer.Argument(help="JSON files, one a panel")] = None,
    output: Annotated[Path, typer.Option(help="PNG file")] = RESULTS / "single_pass.png",
) -> None:
    """Draw the ways of scoring as bars, with the range over the rounds."""
    files = results or [RESULTS / f"single_pass_{size}.json" for size in ("small", "medium")]
    draw([json.loads(file.read_text(encoding="utf-8")) for file in files], output)
    print(output)


def draw(results: list[dict[str, Any]], output: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [n for n in LABELS if any(n in r["seconds"] for r in results)]
    figure, panels = pyplot.subplots(
        1, len(results), figsize=(5.2 * len(results) + 2, 0.45 * len(names) + 1.5),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for panel, result in zip(panels[0], results, strict=True):
        draw_panel(panel, result, names)
    panels[0][0].set_yticks(range(len(names)), [LABELS[name] for name in names])
    panels[0][0].invert_yaxis()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150)
    pyplot.close(figure)


def draw_panel(panel: Any, result: dict[str, Any], names: list[str]) -> None:
    """Median milliseconds a judgement, range as whiskers, times the critique alone as text."""
    scale = 1e3 / result["judgements_per_round"]
    for row, name in enumerate(names):
        if name not in result["seconds"]:
            continue
        one = {key: result["seconds"][name][key] * scale for key in ("median", "min", "max")}
        whiskers = [[one["median"] - one["min"]], [one["max"] - one["median"]]]
        panel.barh(
            row,
            one["median"],
            xerr=whiskers,
            color=OURS if name == "single_pass" else OTHERS,
            error_kw={"capsize": 3, "linewidth": 1},
        )
        times = result["ratio_to_critique_only"][name]["median"]
        panel.annotate(
            f"{one['median']:.0f} ms, x {times:.2f}",
            (one["max"], row),
            xytext=(5, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=8,
        )
    panel.set_xscale("log")
    medians = [one["median"] * scale for one in result["seconds"].values()]
    panel.set_xlim(min(medians) / 2, max(medians) * 6)
    panel.set_xlabel("ms a judgement, log scale")
    pictures = {"digits": "digits", "photos": "real photos", "drawn": "drawn pictures"}
    panel.set_title(
        f"{result['parameters'] / 1e6:.3g} M parameters, {pictures[result['pictures']]}",
        fontsize=10,
    )
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    typer.run(main)
