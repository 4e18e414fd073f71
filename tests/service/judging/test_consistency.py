"""Whether both orders of a pair name the same winner."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.judging.consistency import agreements
from mmreward_service.judging.schedule import Game

FORWARD, BACKWARD = Game(0, 1), Game(1, 0)
POINTS = st.integers(1, 10).map(float)


@pytest.mark.parametrize(
    ("forward", "backward", "agree"),
    [
        ((7.0, 3.0), (4.0, 9.0), True),  # response 0 both times
        ((7.0, 3.0), (9.0, 4.0), False),  # whoever is first
        ((5.0, 5.0), (2.0, 2.0), True),
        ((5.0, 5.0), (2.0, 3.0), False),
    ],
)
def test_the_winner_counts_and_not_the_position(
    forward: tuple[float, float], backward: tuple[float, float], agree: bool
) -> None:
    """Two ties agree, a tie and a win do not."""
    assert agreements({FORWARD: forward, BACKWARD: backward}) == [agree]
    assert agreements({BACKWARD: backward, FORWARD: forward}) == [agree]


@given(POINTS, POINTS)
def test_a_judge_of_answers_agrees_with_itself(one: float, other: float) -> None:
    """Scores that go with the answers agree, whatever they are."""
    assert agreements({FORWARD: (one, other), BACKWARD: (other, one)}) == [True]


def test_pairs_judged_once_or_against_themselves_are_no_evidence() -> None:
    """Only both orders of two different responses say anything."""
    assert agreements({FORWARD: (7.0, 3.0), Game(2, 2): (5.0, 4.0), Game(2, 1): (1.0, 2.0)}) == []
