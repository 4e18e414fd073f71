"""How well scores follow the known order of 2, 3, 5 and 7 answers, with and without comparing them.

    python benchmarks/judge_study/group_quality.py models/digits --split test \
        --output benchmarks/results/judge_groups.json

Answers are graded (`digits_judge.qualities`), pictures are of the split, judgements greedy. Ways:

    alone        the critique model's score of each answer by itself: no grouping
    one          one comparison for each answer, against a single opponent
    balanced     all pairs, each in one order        both    all pairs in both orders

and the last two with `--missing` of the comparisons failed at random, by the service's own
aggregations.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = (2, 3, 5, 7)
DRAWS = 5  # random sets of missing comparisons
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--wording", choices=("trained", "held"), default="trained")
    parser.add_argument("--groups", type=int, default=150, help="of each size")
    parser.add_argument("--missing", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="JSON; a PNG beside it")
    arguments = parser.parse_args()

    import torch
    from mmreward_service.reward.checkpoint import weights_fingerprint
    from mmreward_trainer.digits.scoring import load_digit_model
    from mmreward_trainer.digits_judge.group_scores import judge_groups
    from mmreward_trainer.digits_judge.groups import draw_group

    torch.set_num_threads(arguments.threads)
    model = load_digit_model(arguments.checkpoint)
    began = time.monotonic()
    sizes: dict[str, Any] = {}
    for size in SIZES:
        groups = [
            draw_group(arguments.split, arguments.wording, 1, index, size)
            for index in range(arguments.groups)
        ]
        judged = judge_groups(model, groups)
        games = sum(size * (size - 1) for _ in groups)
        sizes[str(size)] = {
            "groups": len(groups),
            "judgements": games,
            "failed_judgements": games - sum(len(one.played) for one in judged),
            "distinct_qualities": sum(len(set(one.group.points)) for one in judged) / len(judged),
            "ways": {
                name: average(list(map(way, judged)))
                for name, way in ways(arguments.missing).items()
            },
            "kinds": {
                kind: average([w for one in judged if one.group.pair.kind == kind
                               for w in ways(0.0)["both"](one)], single=True)
                for kind in sorted({one.group.pair.kind for one in judged})
            },
        }  # fmt: skip
        print(size, {name: one["spearman"] for name, one in sizes[str(size)]["ways"].items()})
    result = {
        "command": "python benchmarks/judge_study/group_quality.py CHECKPOINT"
        f" --split {arguments.split} --wording {arguments.wording}"
        f" --groups {arguments.groups} --missing {arguments.missing} --output FILE",
        "weights": weights_fingerprint(arguments.checkpoint),
        "split": arguments.split,
        "wording": arguments.wording,
        "missing": arguments.missing,
        "seconds": round(time.monotonic() - began, 1),
        "sizes": sizes,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(make_table(result), encoding="utf-8")
    draw(result, arguments.output.with_suffix(".png"))
    print(make_table(result))


Way = Callable[[Any], list[float | None]]
"""Correlations of one group: one, or one for each draw of missing comparisons."""


def ways(missing: float) -> dict[str, Way]:
    """Every way of scoring a group, by name."""

    def lost(orders: str, aggregate: str) -> Way:
        return lambda one: [
            one.spearman(one.scores(orders, "all", aggregate, missing, seed))
            for seed in range(DRAWS)
        ]

    return {
        "alone": lambda one: [one.spearman(one.alone)],
        "one": lambda one: [one.spearman(one.scores("balanced", 1))],
        "balanced": lambda one: [one.spearman(one.scores("balanced"))],
        "both": lambda one: [one.spearman(one.scores("both"))],
        "both, win rate": lambda one: [one.spearman(one.scores("both", "all", "win_rate"))],
        "both, missing, mean": lost("both", "mean"),
        "both, missing, additive": lost("both", "additive"),
        "balanced, missing, mean": lost("balanced", "mean"),
        "balanced, missing, additive": lost("balanced", "additive"),
    }


def average(found: list[Any], *, single: bool = False) -> dict[str, Any]:
    """Mean over groups with a bootstrap interval; groups without a correlation are counted."""
    import numpy as np

    groups = [[one] for one in found] if single else found
    means = [
        sum(known) / len(known)
        for one in groups
        if (known := [value for value in one if value is not None])
    ]
    values = np.array(means)
    rng = np.random.default_rng(0)
    drawn = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    return {
        "spearman": round(float(values.mean()), 4),
        "ci95": [round(float(edge), 4) for edge in np.quantile(drawn, (0.025, 0.975))],
        "groups": len(means),
        "without_a_correlation": len(groups) - len(means),
    }


def make_table(result: dict[str, Any]) -> str:
    """Markdown: mean Spearman correlation and its interval, by size of the group."""
    sizes = result["sizes"]
    lines = [
        f"Split {result['split']}, wordings {result['wording']}, "
        f"{next(iter(sizes.values()))['groups']} groups of each size.",
        "",
        "| way | " + " | ".join(f"n = {size}" for size in sizes) + " |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for name in next(iter(sizes.values()))["ways"]:
        cells = [_cell(one["ways"][name]) for one in sizes.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(one: dict[str, Any]) -> str:
    return f"{one['spearman']:.3f} ({one['ci95'][0]:.3f} - {one['ci95'][1]:.3f})"


def draw(result: dict[str, Any], path: Path) -> None:
    """The curves over the size of the group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    share = f"{100 * result['missing']:.0f} %"
    labels = {
        "both": ("all pairs, both orders", "#1b6ca8", "-"),
        "balanced": ("all pairs, one order each", "#1b6ca8", "--"),
        "both, missing, additive": (f"both orders, {share} missing, additive", "#c8553d", "-"),
        "both, missing, mean": (f"both orders, {share} missing, mean", "#c8553d", "--"),
        "one": ("one opponent each", "#588157", "-"),
        "alone": ("each answer alone (critique model)", "#8d99ae", "-"),
    }
    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    sizes = [int(size) for size in result["sizes"]]
    for name, (label, colour, style) in labels.items():
        ones = [result["sizes"][str(size)]["ways"][name] for size in sizes]
        axes.plot(sizes, [one["spearman"] for one in ones], style, color=colour, marker="o",
                  markersize=4, label=label)  # fmt: skip
        if style == "-":
            lows, highs = zip(*(one["ci95"] for one in ones), strict=True)
            axes.fill_between(sizes, lows, highs, color=colour, alpha=0.12)
    axes.set_xticks(sizes)
    axes.set_xlabel("answers in a group")
    axes.set_ylabel("Spearman correlation with the known order")
    axes.set_ylim(top=1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
