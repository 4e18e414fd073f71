"""Which comparison is shown when."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_trainer.judge.schedule import Shown, schedule

numbers = st.integers(1, 40)


@given(numbers, st.integers(0, 2**32 - 1))
def test_an_epoch_shows_every_pair_once_in_either_order(pairs: int, seed: int) -> None:
    """Two comparisons a pair, one of each order; twice as many in two epochs."""
    shown = schedule(pairs, 4 * pairs, seed)
    wanted = [Shown(row, first) for row in range(pairs) for first in (True, False)]
    for epoch in (shown[: 2 * pairs], shown[2 * pairs :]):
        assert Counter(epoch) == Counter(wanted)


@given(numbers, st.integers(0, 2**32 - 1))
def test_positions_are_balanced_all_the_way(pairs: int, seed: int) -> None:
    """However early a run stops, the preferred answer was first about as often as second."""
    lead = 0
    for one in schedule(pairs, 4 * pairs, seed):
        lead += 1 if one.chosen_first else -1
        assert abs(lead) <= 2
    assert lead == 0


def test_the_seed_decides() -> None:
    """The same seed gives the same order, another seed another; a longer one begins alike."""
    assert schedule(20, 40, 1) == schedule(20, 40, 1)
    assert schedule(20, 40, 1) != schedule(20, 40, 2)
    assert schedule(20, 100, 1)[:40] == schedule(20, 40, 1)
    with pytest.raises(ValueError, match="no pairs"):
        schedule(0, 1, 0)
