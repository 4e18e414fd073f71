"""Temperature fits: they recover what is known, and refuse what they cannot know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_trainer.calibration import (
    MIN_ERRORS,
    CalibrationError,
    best_temperature,
    expected_calibration_error,
    fit_temperature,
)


def deltas_at(temperature: float, pairs: int, seed: int = 0) -> np.ndarray:
    """Margins whose sign is right with probability sigmoid(|delta| / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.5, pairs)
    is_first_better = rng.random(pairs) < 1 / (1 + np.exp(-logits))
    return np.where(is_first_better, logits, -logits) * temperature


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_fit_recovers_a_known_temperature(temperature: float) -> None:
    """The fitted T is near the true one, and its interval holds it."""
    fit = fit_temperature(deltas_at(temperature, 4000), mode="generate", critiques=8)
    assert fit.temperature == pytest.approx(temperature, rel=0.1)
    assert fit.interval_95[0] < temperature < fit.interval_95[1]
    assert (fit.mode, fit.critiques, fit.pairs) == ("generate", 8, 4000)


def test_fit_minimises_the_loss() -> None:
    """No temperature near the fitted one has a smaller negative log-likelihood."""
    deltas = deltas_at(0.8, 500, seed=3)
    best = best_temperature(deltas)

    def loss(temperature: float) -> float:
        return float(np.logaddexp(0.0, -deltas / temperature).mean())

    assert loss(best) <= min(loss(best * 0.98), loss(best * 1.02))


def test_too_few_errors_are_refused() -> None:
    """29 do not do, 30 do; a margin of zero is no error, it says 1/2 at every temperature."""
    deltas = np.full(1000, 2.0)
    deltas[: MIN_ERRORS - 1] = -0.5
    deltas[-5:] = 0.0
    with pytest.raises(CalibrationError, match="29 of 1000"):
        fit_temperature(deltas, mode="generate")
    deltas[MIN_ERRORS - 1] = -0.5
    assert fit_temperature(deltas, mode="generate").errors == MIN_ERRORS


@given(st.floats(-60, 60), st.integers(0, 20))
def test_the_fit_knows_no_unit(exponent: float, seed: int) -> None:
    """Scores times c have T times c, be they thousandths or thousands of millions."""
    deltas = deltas_at(1.0, 300, seed)
    assert best_temperature(deltas * 2.0**exponent) == pytest.approx(
        best_temperature(deltas) * 2.0**exponent, rel=1e-5
    )


def test_weights_are_repetitions() -> None:
    """A pair that counts twice is a pair that is there twice."""
    deltas = deltas_at(0.7, 400, seed=2)
    times = np.random.default_rng(0).integers(0, 4, 400)
    weighted = best_temperature(deltas, weights=times.astype(float))
    assert weighted == pytest.approx(best_temperature(np.repeat(deltas, times)), rel=1e-6)


def test_groups_widen_the_interval() -> None:
    """Five copies of each pair hold no more than one: over groups the interval stays, over pairs
    it is too narrow by about the root of five."""
    deltas = deltas_at(1.0, 400, seed=7)
    alone = fit_temperature(deltas, mode="generate")
    fivefold, groups = np.repeat(deltas, 5), np.repeat(np.arange(400), 5)
    grouped = fit_temperature(fivefold, mode="generate", groups=groups)
    naive = fit_temperature(fivefold, mode="generate")
    assert grouped.temperature == alone.temperature == naive.temperature
    assert grouped.interval_95 == alone.interval_95
    ratio = width(grouped.interval_95) / width(naive.interval_95)
    assert ratio == pytest.approx(5**0.5, rel=0.25)


def test_pairs_that_hang_together_are_refused() -> None:
    """Nine groups allow no interval, however many pairs they hold."""
    groups = np.arange(2000) % 9
    with pytest.raises(CalibrationError, match="9 groups"):
        fit_temperature(deltas_at(1.0, 2000), mode="generate", groups=groups)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of forty samples with pairs in groups, about 38 intervals hold the true temperature."""
    held = 0
    for seed in range(40):
        deltas = deltas_at(1.5, 300, seed=100 + seed)
        deltas, groups = np.repeat(deltas, 3), np.repeat(np.arange(300), 3)
        low, high = fit_temperature(deltas, mode="none", groups=groups).interval_95
        held += low < 1.5 < high
    assert 33 <= held <= 40


def test_useless_deltas_are_refused() -> None:
    """Deltas that point the wrong way, or are not finite, have no temperature."""
    with pytest.raises(CalibrationError, match="not positive"):
        fit_temperature(-deltas_at(1.0, 500), mode="generate")
    with pytest.raises(CalibrationError, match="finite"):
        fit_temperature([1.0, float("nan")], mode="generate")


def test_calibration_error_of_known_cases() -> None:
    """0.8 stated and 0.6 true is an error of 0.2; stated as it is, none."""
    outcomes = [True] * 6 + [False] * 4
    assert expected_calibration_error([0.8] * 10, outcomes) == pytest.approx(0.2)
    assert expected_calibration_error([0.6] * 10, outcomes) == pytest.approx(0.0)


def test_fitting_lowers_the_calibration_error() -> None:
    """Scores three times too large are overconfident before the fit and not after it."""
    deltas = deltas_at(3.0, 4000, seed=5)
    fit = fit_temperature(deltas, mode="generate")
    right = deltas > 0

    def error(temperature: float) -> float:
        stated = 1 / (1 + np.exp(-np.abs(deltas) / temperature))
        return expected_calibration_error(stated, right)

    assert error(fit.temperature) < 0.03 < error(1.0)
