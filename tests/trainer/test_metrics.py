"""Figures about scored pairs, on pairs whose figures are known."""

from __future__ import annotations

import pytest
from mmreward_trainer.digits import metrics
from mmreward_trainer.digits.generation import Written
from mmreward_trainer.digits.pairs import draw_pair
from mmreward_trainer.digits.scoring import PairScores


def scored(chosen: float | None, rejected: float | None, hard: bool = False) -> PairScores:
    pair = draw_pair("train", "trained", 0, 0, kind="naming", hard_share=1.0 if hard else 0.0)
    return PairScores(pair, [Written([1], chosen)], [Written([1], rejected)])


def test_ties_and_unfinished_critiques_count_as_wrong() -> None:
    """Of four pairs one is right: the others are a tie, an unfinished critique and a loss."""
    results = [scored(1, 0), scored(1, 1), scored(None, -5), scored(0, 1)]
    table = metrics.accuracy_table(results)
    assert table["naming"]["clean"] == {"accuracy": 0.25, "pairs": 4}
    assert table["all"]["hard"] == {"accuracy": None, "pairs": 0}
    assert metrics.quick_summary(results)["unfinished"] == 1


def test_delta_is_the_difference_of_means_of_finished_critiques() -> None:
    """An unfinished critique among several is left out of its side's mean."""
    pair = draw_pair("train", "trained", 0, 0)
    sides = [Written([1], 3.0), Written([1], None), Written([1], 1.0)], [Written([1], -1.0)]
    assert PairScores(pair, *sides).delta == 3.0


def test_auroc_counts_ties_as_one_half() -> None:
    """Of four comparisons two are won, one is a tie, one is lost."""
    assert metrics.auroc([3.0, 1.0], [2.0, 1.0]) == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert metrics.auroc([], [1.0]) is None


def test_beta_at_its_bounds() -> None:
    """Margins near zero sit at the lower bound, large ones at the upper; wrong ones count not."""
    results = [scored(0.001, 0), scored(20, 0), scored(1, 0), scored(2, 0), scored(0, 3)]
    figures = metrics.beta_figures(results, lambda delta: delta)["clean"]
    assert figures["pairs"] == 4
    assert figures["at_lower_bound"] == 0.25
    assert figures["at_upper_bound"] == 0.25


def test_calibration_error_of_a_temperature() -> None:
    """Three of four right at |delta| = ln 3: stated 0.75 at T = 1 is exact, at T = 2 it is not."""
    margin = 1.0986122886681098
    results = [scored(margin, 0)] * 3 + [scored(0, margin)]
    assert metrics.calibration_table(results, None)["all"] == {"pairs": 4, "before": 0.0}
    assert metrics.calibration_table(results, 2.0)["all"]["after"] > 0.1
