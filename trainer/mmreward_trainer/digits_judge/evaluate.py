"""Held-out figures of a judge: pairs of the split that the critique model is measured on, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmreward_trainer.digits.evaluate import draw_pairs
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits.wordings import Wording
from mmreward_trainer.digits_judge.metrics import JudgedPair, judge_pairs, judge_summary

_Z = 1.959964
_RESAMPLES = 2000


def evaluate_judge(
    digit_model: DigitModel, split: Split, trained: int, held: int
) -> dict[str, Any]:
    """Figures of pairs in trained wordings and in wordings never trained, both orders.

    `right` lists for every pair whether both orders together, and each alone, are right: what a
    paired comparison of two models needs.
    """
    found: dict[str, Any] = {}
    sizes: dict[Wording, int] = {"trained": trained, "held": held}
    for name, count in sizes.items():
        judged = judge_pairs(digit_model, draw_pairs(split, name, count))
        figures = judge_summary(judged)
        right = [_right(one) for one in judged]
        wins = sum(one[0] for one in right)
        figures["both_orders_ci95"] = wilson(wins, len(right))
        figures["right"] = ["".join(str(int(bit)) for bit in one) for one in right]
        found[name] = figures
    return found


def wilson(wins: int, count: int) -> list[float]:
    """95 % interval of a share (Wilson 1927), for independent trials."""
    share, z2 = wins / count, _Z**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return [round(max(0.0, centre - half), 4), round(min(1.0, centre + half), 4)]


def gain(before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """Difference of two models' both-orders accuracy on the same pairs, with a bootstrap interval.

    Args:
        before, after: `right` of two results of `evaluate_judge`, same split and counts.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} pairs before, {len(after)} after: not the same ones")
    steps = np.array([int(b[0]) - int(a[0]) for a, b in zip(before, after, strict=True)])
    rng = np.random.default_rng(0)
    means = steps[rng.integers(len(steps), size=(_RESAMPLES, len(steps)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "gain": round(float(steps.mean()), 4),
        "ci95": [round(float(low), 4), round(float(high), 4)],
        "became_right": int((steps > 0).sum()),
        "became_wrong": int((steps < 0).sum()),
    }


def _right(one: JudgedPair) -> tuple[bool, bool, bool]:
    forward, backward = one.deltas
    both = one.delta
    return (
        both is not None and both > 0,
        forward is not None and forward > 0,
        backward is not None and backward > 0,
    )
