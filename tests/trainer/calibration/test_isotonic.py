"""The isotonic map and its choice: known maps are found, and taken only where they are better."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmreward_client.evaluation.curves import calibration
from mmreward_service.reward.margin import probability
from mmreward_service.reward.spec import Calibration
from mmreward_trainer.calibration.cross_validation import held_out, isotonic_gain, stated
from mmreward_trainer.calibration.fitting import fit
from mmreward_trainer.calibration.isotonic import fit_knots
from mmreward_trainer.calibration.margins import Margins
from mmreward_trainer.calibration.reliability import judged, measure


def drawn(
    truth: Callable[[np.ndarray], np.ndarray], pairs: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Margins whose chosen answer is the better one with probability truth(delta), and groups."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0.0, 2.0, pairs)
    is_better = rng.random(pairs) < truth(deltas)
    return np.where(is_better, deltas, -deltas), np.arange(pairs)


def plateau(deltas: np.ndarray) -> np.ndarray:
    """No sigmoid: right in 60 % of the pairs up to |delta| 1, in 90 % beyond."""
    return 0.5 + np.sign(deltas) * np.where(np.abs(deltas) < 1.0, 0.1, 0.4)


def logistic(deltas: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-deltas / 1.5))


def margins_of(deltas: np.ndarray, groups: np.ndarray, categories: tuple[str, ...] = ()) -> Margins:
    return Margins(
        mode="generate",
        critiques=1,
        deltas=deltas,
        groups=groups,
        categories=categories or ("all",) * len(deltas),
        rows=len(deltas),
        left_out={},
        fingerprint=None,
        answers=Path("answers.jsonl"),
    )


def test_a_known_map_is_found() -> None:
    """Both plateaus within 0.03, and the rise between them near its place."""
    deltas, _ = drawn(plateau, 20_000)
    knots = fit_knots(deltas)
    for size, expected in ((0.5, 0.6), (0.8, 0.6), (1.3, 0.9), (3.0, 0.9)):
        assert probability(size, 1.0, knots) == pytest.approx(expected, abs=0.03)
        assert probability(-size, 1.0, knots) == pytest.approx(1 - expected, abs=0.03)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60).filter(any))
def test_any_sample_gives_a_map_that_the_checkpoint_admits(deltas: list[float]) -> None:
    """Finite, rising, never below one half and never certain, whatever the margins are."""
    knots = fit_knots(np.array(deltas))
    Calibration(
        mode="none", method="isotonic", temperature=1.0, knots=knots,
        interval_95=(1.0, 1.0), errors=30, pairs=len(deltas),
    )  # fmt: skip
    assert all(low[1] <= high[1] for low, high in pairwise(knots))


def test_pairs_without_an_error_are_not_certain() -> None:
    """n right pairs say n / (n + 1)."""
    assert fit_knots(np.full(9, 2.0)) == [(2.0, 0.9)]


def test_it_is_the_isotonic_regression_of_the_mirrored_sample() -> None:
    """scikit-learn's map of (delta, 1) and (-delta, 0), with the imaginary error mirrored too."""
    from sklearn.isotonic import IsotonicRegression

    deltas, _ = drawn(logistic, 400, seed=4)
    largest = np.abs(deltas).max()
    right = np.append(deltas, -largest)
    mirrored = IsotonicRegression().fit(
        np.concatenate([right, -right]), np.repeat([1.0, 0.0], len(right))
    )
    assert stated(deltas, 1.0, fit_knots(deltas)) == pytest.approx(
        mirrored.predict(deltas), abs=2e-6
    )


def test_a_map_that_is_no_sigmoid_is_taken() -> None:
    """And the held-out error is then smaller than the temperature's."""
    found = fit(margins_of(*drawn(plateau, 4000)))
    assert found.calibration.method == "isotonic"
    assert found.calibration.knots
    assert found.held_out["isotonic"].log_loss < found.held_out["temperature"].log_loss
    assert found.after.mean() == pytest.approx(1 - found.calibration.errors / 4000, abs=0.2)


def test_a_sigmoid_keeps_its_temperature() -> None:
    """On twenty samples of a true sigmoid isotonic is better on its own pairs, and not taken."""
    taken = 0
    for seed in range(20):
        deltas, groups = drawn(logistic, 600, seed)
        taken += isotonic_gain(held_out(deltas, groups), groups).is_clear
    assert taken == 0


def test_isotonic_where_it_is_asked_for() -> None:
    found = fit(margins_of(*drawn(logistic, 600)), choice="isotonic")
    assert (found.calibration.method, found.gain.is_clear) == ("isotonic", False)
    kept = fit(margins_of(*drawn(plateau, 4000)), choice="temperature")
    assert (kept.calibration.method, kept.calibration.knots) == ("temperature", None)
    assert kept.gain.is_clear


def test_the_temperature_is_there_with_either_method() -> None:
    """`delta_calibrated` does not depend on the map of `prob`."""
    made = [
        fit(margins_of(*drawn(plateau, 2000)), choice=choice).calibration
        for choice in ("temperature", "isotonic")
    ]
    assert made[0].temperature == made[1].temperature
    assert made[0].interval_95 == made[1].interval_95


@given(group=st.integers(0, 99), seed=st.integers(0, 5))
@settings(max_examples=10, deadline=None)
def test_no_pair_is_judged_by_a_map_of_its_group(group: int, seed: int) -> None:
    """Turning the outcomes of a group around moves none of the maps that judge it."""
    deltas, _ = drawn(logistic, 400, seed)
    groups = np.arange(400) // 4
    own = groups == group
    turned = np.where(own, -deltas, deltas)
    there, back = held_out(deltas, groups), held_out(turned, groups)
    for method in ("temperature", "isotonic"):
        assert there[method][own] == pytest.approx(1.0 - back[method][own], abs=1e-12)
        assert not np.isnan(there[method]).any()


def test_the_error_of_the_gain_is_over_groups() -> None:
    """Copies of pairs make the gain no surer than the pairs are."""
    deltas, groups = drawn(plateau, 500, seed=3)
    once = held_out(deltas, groups)
    copies = {name: np.repeat(found, 6) for name, found in once.items()}
    alone, copied = isotonic_gain(once, groups), isotonic_gain(copies, np.repeat(groups, 6))
    assert copied.mean == pytest.approx(alone.mean)
    assert copied.stderr == pytest.approx(alone.stderr)


def test_the_band_holds_the_truth() -> None:
    """At most three of the nineteen places of the isotonic band miss the true map."""
    found = fit(margins_of(*drawn(logistic, 3000, seed=8)), choice="isotonic")
    missed = [
        size for size, low, high in found.band_95 if not low - 0.01 <= logistic(size) <= high + 0.01
    ]
    assert len(missed) <= 3


def test_errors_by_category() -> None:
    """One part is overconfident before and the other is not; the table tells which."""
    calm, _ = drawn(lambda deltas: 1 / (1 + np.exp(-deltas)), 1500, seed=1)
    bold, _ = drawn(lambda deltas: 1 / (1 + np.exp(-deltas)), 1500, seed=2)
    deltas = np.concatenate([calm, 4.0 * bold])
    found = fit(
        margins_of(deltas, np.arange(3000), ("calm",) * 1500 + ("bold",) * 1500),
        choice="temperature",
    )
    assert set(found.categories) == {"calm", "bold"}
    assert found.categories["calm"].before.ece < 0.04 < found.categories["bold"].before.ece
    assert found.overall.before.pairs == 3000
    assert sum(part.errors for part in found.categories.values()) == found.calibration.errors


def test_an_error_of_perfect_probabilities_is_told() -> None:
    """Where the stated probabilities are true, the error is near what is said for that case."""
    found = fit(margins_of(*drawn(logistic, 2000, seed=5))).overall.after
    assert found.ece == pytest.approx(found.ece_if_perfect, abs=0.015)


def test_the_error_if_perfect_is_that_of_drawn_outcomes() -> None:
    """The mean of the evaluation's own figure over outcomes drawn from the probabilities."""
    rng = np.random.default_rng(0)
    stated_probabilities = rng.random(150)
    drawn_errors = []
    for _ in range(400):
        is_chosen = rng.random(150) < stated_probabilities
        found = calibration(
            judged(np.where(is_chosen, stated_probabilities, 1 - stated_probabilities))
        )
        assert found is not None
        drawn_errors.append(found.ece)
    expected = float(np.mean(drawn_errors))
    assert measure(stated_probabilities).ece_if_perfect == pytest.approx(expected, rel=0.06)
