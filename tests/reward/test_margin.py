"""Delta, its noise, its probability and its beta against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.schema import Beta
from mmreward_service.reward.margin import margin, mean_and_stderr, sigmoid
from mmreward_service.reward.spec import Calibration

finite = st.floats(-1e6, 1e6)
CALIBRATION = Calibration(
    mode="generate", temperature=2.0, interval_95=(1.5, 2.5), errors=40, pairs=1000
)


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


@given(st.floats(allow_nan=False))
def test_sigmoid_is_safe_everywhere(x: float) -> None:
    assert 0.0 <= sigmoid(x) <= 1.0
