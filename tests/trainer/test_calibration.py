"""Temperature fits: they recover what is known, and refuse what they cannot know."""

from __future__ import annotations

import numpy as np
import pytest
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
    """Errors are counted, ties among them: 29 do not do, 30 do."""
    deltas = np.full(1000, 2.0)
    deltas[: MIN_ERRORS - 1] = -0.5
    with pytest.raises(CalibrationError, match="29 of 1000"):
        fit_temperature(deltas, mode="generate")
    deltas[MIN_ERRORS - 1] = 0.0
    assert fit_temperature(deltas, mode="generate").errors == MIN_ERRORS


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
