"""Delta, its noise, its probability and its beta against values worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.schema import Beta
from mmreward_service.reward.margin import margin, mean_and_stderr, probability, sigmoid
from mmreward_service.reward.spec import Calibration
from pydantic import ValidationError
from reward_folders import make_spec

finite = st.floats(-1e6, 1e6)
CALIBRATION = Calibration(
    mode="generate", temperature=2.0, interval_95=(1.5, 2.5), errors=40, pairs=1000
)
KNOTS = [(0.5, 0.5), (1.0, 0.7), (2.0, 0.7), (4.0, 0.9)]
ISOTONIC = CALIBRATION.model_copy(update={"method": "isotonic", "knots": KNOTS})


def test_mean_and_standard_error() -> None:
    """1, 2, 6: mean 3, variance 7, standard error sqrt(7 / 3); one score has no spread."""
    assert mean_and_stderr([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7 / 3)))
    assert mean_and_stderr([1.5]) == (1.5, None)


def test_a_pair_worked_out_by_hand() -> None:
    result = margin((2.0, 0.3), (1.0, 0.4), CALIBRATION, Beta())
    assert result.delta == 1.0
    assert result.delta_stderr == pytest.approx(0.5)
    assert result.delta_calibrated == 0.5
    assert result.prob == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert result.beta == pytest.approx(0.1 * (1 + 0.5 * (1 - math.exp(-0.5))))


def test_beta_on_the_calibrated_basis() -> None:
    beta = Beta(basis="calibrated")
    result = margin((2.0, None), (1.0, None), CALIBRATION, beta)
    assert result.beta == pytest.approx(0.1 * (1 + 0.5 * (1 - math.exp(-0.25))))
    assert margin((2.0, None), (1.0, None), None, beta).beta is None


def test_without_calibration_there_is_no_probability() -> None:
    result = margin((2.0, None), (1.0, None), None, Beta())
    assert (result.prob, result.delta_calibrated, result.delta_stderr) == (None, None, None)


@given(finite, finite)
def test_swapping_the_sides_negates_delta(a: float, b: float) -> None:
    there = margin((a, None), (b, None), CALIBRATION, Beta())
    back = margin((b, None), (a, None), CALIBRATION, Beta())
    assert there.delta == -back.delta
    assert there.prob is not None
    assert back.prob is not None
    assert there.prob + back.prob == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (0.0, 0.5),
        (0.25, 0.5),
        (0.75, 0.6),
        (1.0, 0.7),
        (1.5, 0.7),
        (3.0, 0.8),
        (4.0, 0.9),
        (9.0, 0.9),
    ],
)
def test_the_isotonic_map_at_known_places(delta: float, expected: float) -> None:
    """Linear between the knots, constant beyond the last, mirrored at zero."""
    assert probability(delta, 2.0, KNOTS) == pytest.approx(expected)
    assert probability(-delta, 2.0, KNOTS) == pytest.approx(1 - expected)


def test_below_the_first_knot_the_map_rises_from_one_half() -> None:
    assert probability(0.5, 2.0, [(1.0, 0.9)]) == pytest.approx(0.7)


def test_isotonic_is_for_prob_alone() -> None:
    """The calibrated delta, and so the calibrated beta, stay with the temperature."""
    result = margin((3.0, None), (0.0, None), ISOTONIC, Beta(basis="calibrated"))
    assert result.prob == pytest.approx(0.8)
    assert result.delta_calibrated == 1.5
    assert result.beta == pytest.approx(0.1 * (1 + 0.5 * (1 - math.exp(-0.75))))


@st.composite
def knots(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Any map that the checkpoint format admits."""
    sizes = draw(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=8, unique=True))
    heights = draw(st.lists(st.floats(0.5, 1.0, exclude_max=True), min_size=8, max_size=8))
    return list(zip(sorted(sizes), sorted(heights)[: len(sizes)], strict=True))


@given(knots(), st.lists(st.floats(allow_nan=False), min_size=2, max_size=6))
def test_any_map_is_monotone_symmetric_and_never_certain(
    knots: list[tuple[float, float]], deltas: list[float]
) -> None:
    """For every admitted map and every delta, infinite ones included."""
    Calibration.model_validate({**CALIBRATION.model_dump(), "method": "isotonic", "knots": knots})
    stated = [probability(delta, 1.0, knots) for delta in sorted(deltas)]
    assert all(0.0 < one < 1.0 for one in stated)
    assert all(one <= other + 1e-15 for one, other in pairwise(stated))
    for delta in deltas:
        assert probability(delta, 1.0, knots) + probability(-delta, 1.0, knots) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "isotonic"}, "knots belong"),
        ({"knots": [(1.0, 0.7)]}, "knots belong"),
        ({"method": "isotonic", "knots": []}, "at least one"),
        ({"method": "isotonic", "knots": [(0.0, 0.6)]}, "does not rise"),
        ({"method": "isotonic", "knots": [(1.0, 0.6), (1.0, 0.7)]}, r"knots\[1\].*does not rise"),
        ({"method": "isotonic", "knots": [(math.nan, 0.6)]}, "does not rise"),
        ({"method": "isotonic", "knots": [(math.inf, 0.6)]}, "does not rise"),
        ({"method": "isotonic", "knots": [(1.0, 0.4)]}, "not from 0.5"),
        ({"method": "isotonic", "knots": [(1.0, 0.7), (2.0, 0.6)]}, "not from 0.7"),
        ({"method": "isotonic", "knots": [(1.0, 1.0)]}, "below 1"),
        ({"method": "isotonic", "knots": [(1.0, math.nan)]}, "not from"),
        ({"interval_95": (2.0, 1.0)}, "no interval"),
        ({"interval_95": (1.0, math.inf)}, "no interval"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"method": "platt"}, "isotonic"),
    ],
)
def test_a_map_that_could_mislead_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibration.model_validate({**CALIBRATION.model_dump(), **changes})


def test_one_calibration_for_each_way() -> None:
    """Two for one way of scoring: which of them would hold?"""
    others = [CALIBRATION, CALIBRATION.model_copy(update={"critiques": 8})]
    assert make_spec(calibration=others).find_calibration("generate", 8) == others[1]
    with pytest.raises(ValidationError, match="more than one calibration"):
        make_spec(calibration=[CALIBRATION, ISOTONIC])


@given(st.floats(allow_nan=False))
def test_sigmoid_is_safe_everywhere(x: float) -> None:
    assert 0.0 <= sigmoid(x) <= 1.0
