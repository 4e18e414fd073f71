"""Figures about scored pairs: accuracy by kind, beta, whether delta knows, calibration error.

A tie counts as wrong, and so does a pair one of whose critiques was never finished.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from mmreward_client import dynamic_beta

from mmreward_trainer.calibration import expected_calibration_error
from mmreward_trainer.digits.pairs import KINDS
from mmreward_trainer.digits.scoring import PairScores

BETA0, W, K = 0.1, 0.5, 0.5


def is_right(scores: PairScores) -> bool:
    delta = scores.delta
    return delta is not None and delta > 0.0


def share(results: Iterable[bool]) -> float | None:
    """Share of true values, None of an empty list."""
    values = list(results)
    return round(sum(values) / len(values), 4) if values else None


def quick_summary(scored: list[PairScores]) -> dict[str, Any]:
    """What a training run prints: accuracy clean by kind, hard, and the size of delta."""
    clean = [s for s in scored if not s.pair.is_hard]
    hard = [s for s in scored if s.pair.is_hard]

    def size(group: list[PairScores], right: bool) -> float | None:
        values = [abs(s.delta) for s in group if s.delta is not None and is_right(s) is right]
        return round(statistics.fmean(values), 2) if values else None

    return {
        "all": share(map(is_right, scored)),
        "clean": share(map(is_right, clean)),
        "hard": share(map(is_right, hard)),
        "unfinished": sum(s.delta is None for s in scored),
        "kinds": {kind: share(is_right(s) for s in clean if s.pair.kind == kind) for kind in KINDS},
        "delta_right": [size(clean, True), size(hard, True)],
        "delta_wrong": [size(clean, False), size(hard, False)],
    }


def accuracy_table(scored: list[PairScores]) -> dict[str, Any]:
    """Accuracy per kind, clean and hard, with the number of pairs it rests on."""
    table: dict[str, Any] = {}
    for kind in (*KINDS, "all"):
        row = {}
        for name, is_hard in (("clean", False), ("hard", True)):
            group = [
                s for s in scored if s.pair.is_hard is is_hard and kind in (s.pair.kind, "all")
            ]
            row[name] = {"accuracy": share(map(is_right, group)), "pairs": len(group)}
        table[kind] = row
    return table


def longer_wins(scored: list[PairScores]) -> dict[str, float | None]:
    """How often the longer answer (in characters) is the chosen one; a tie counts one half."""

    def half(group: list[PairScores]) -> float | None:
        gaps = [len(s.pair.chosen.text) - len(s.pair.rejected.text) for s in group]
        return round(sum((g > 0) + 0.5 * (g == 0) for g in gaps) / len(gaps), 4) if gaps else None

    return {
        kind: half([s for s in scored if kind in (s.pair.kind, "all")]) for kind in (*KINDS, "all")
    }


def beta_figures(scored: list[PairScores], transform: Callable[[float], float]) -> dict[str, Any]:
    """Mean and spread of beta over pairs scored right, and its share at each bound.

    At a bound means within 1 % of the range between the bounds. `transform` maps delta to the
    basis beta is taken on: the identity, or division by a temperature.
    """
    figures: dict[str, Any] = {}
    edge = 0.01 * W * BETA0
    for name, is_hard in (("clean", False), ("hard", True)):
        deltas = [
            transform(s.delta)
            for s in scored
            if s.pair.is_hard is is_hard and s.delta is not None and is_right(s)
        ]
        betas = [dynamic_beta(d, beta0=BETA0, w=W, k=K) for d in deltas]
        if len(betas) < 2:
            continue
        figures[name] = {
            "pairs": len(betas),
            "beta_mean": round(statistics.fmean(betas), 5),
            "beta_sd": round(statistics.stdev(betas), 5),
            "at_lower_bound": share(b <= BETA0 + edge for b in betas),
            "at_upper_bound": share(b >= (1 + W) * BETA0 - edge for b in betas),
            "delta_mean": round(statistics.fmean(deltas), 3),
            "delta_sd": round(statistics.stdev(deltas), 3),
        }
    return figures


def delta_knows(scored: list[PairScores]) -> dict[str, Any]:
    """Is |delta| larger where the pair is right? AUROC of |delta| for being right, 0.5 = no."""
    figures: dict[str, Any] = {}
    for name in ("clean", "hard", "all"):
        group = [
            s
            for s in scored
            if s.delta is not None and (name == "all" or s.pair.is_hard is (name == "hard"))
        ]
        right = sorted(abs(s.delta) for s in group if s.delta is not None and is_right(s))
        wrong = sorted(abs(s.delta) for s in group if s.delta is not None and not is_right(s))
        figures[name] = {
            "auroc": auroc(right, wrong),
            "right": len(right),
            "wrong": len(wrong),
            "mean_right": round(statistics.fmean(right), 3) if right else None,
            "mean_wrong": round(statistics.fmean(wrong), 3) if wrong else None,
        }
    return figures


def auroc(positive: list[float], negative: list[float]) -> float | None:
    """Chance that a positive value exceeds a negative one, ties counting one half."""
    if not positive or not negative:
        return None
    import numpy as np

    lower = np.searchsorted(np.sort(negative), positive, "left")
    upper = np.searchsorted(np.sort(negative), positive, "right")
    return round(float((lower + upper).mean() / 2 / len(negative)), 4)


def calibration_table(scored: list[PairScores], temperature: float | None) -> dict[str, Any]:
    """Calibration error of sigmoid(|delta| / T) against being right, per kind; T = 1 is before."""
    table: dict[str, Any] = {}
    for kind in (*KINDS, "clean", "hard", "all"):
        group = [
            (abs(s.delta), is_right(s))
            for s in scored
            if s.delta is not None
            and kind in (s.pair.kind, "hard" if s.pair.is_hard else "clean", "all")
        ]
        if not group:
            continue
        sizes, outcomes = zip(*group, strict=True)
        row = {"pairs": len(group), "before": _error(sizes, outcomes, 1.0)}
        if temperature is not None:
            row["after"] = _error(sizes, outcomes, temperature)
        table[kind] = row
    return table


def _error(sizes: tuple[float, ...], outcomes: tuple[bool, ...], temperature: float) -> float:
    stated = [1.0 / (1.0 + math.exp(-size / temperature)) for size in sizes]
    return round(expected_calibration_error(stated, outcomes), 4)
