"""Figures of a judge's two orders: against counting by hand, and where they must agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answers import judged
from mmreward_client.evaluation.judged import Judged
from mmreward_client.evaluation.orders import measure_orders
from mmreward_client.evaluation.report import figures

# Halves and doubles: the mean of two orders then is exact.
DELTAS = st.sampled_from([-4.0, -1.0, 0.0, 0.0, 1.0, 4.0])


def pair(number, forward, backward, **changes):
    mean = (forward + backward) / 2
    fields = {"rewards": (mean, 0.0), "orders": (forward, backward), **changes}
    return Judged(id=str(number), **fields)


def test_by_hand():
    """Five pairs: steady right, steady wrong, first always, second always, tie and winner."""
    pairs = [pair(n, *both) for n, both in enumerate([(2, 1), (-1, -3), (4, -1), (-2, 3), (0, 1)])]
    found = measure_orders(pairs)
    assert found is not None
    shares = {
        "acc_chosen_first": (2, 5),
        "acc_chosen_second": (3, 5),
        "acc_one_order": (5, 10),
        "order_consistency": (2, 5),
        # first wins: (2,1) once, (-1,-3) once, (4,-1) twice, (-2,3) never, (0,1) never
        "first_wins": (4, 9),
        "ties": (1, 10),
    }
    for name, expected in shares.items():
        share = getattr(found, name)
        assert (share.hits, share.total) == expected, name
        low, high = share.ci95
        assert low <= share.share <= high


def test_a_judge_that_only_sees_the_place():
    """Who always prefers the first answer is consistent in nothing, and right half the time."""
    found = measure_orders([pair(n, 3.0, -3.0) for n in range(20)])
    assert found is not None
    assert found.first_wins.share == 1.0
    assert found.order_consistency.share == 0.0
    assert (found.acc_chosen_first.share, found.acc_chosen_second.share) == (1.0, 0.0)
    assert found.acc_one_order.share == 0.5
    assert found.first_wins.ci95[0] > 0.8


def test_no_judge_no_figures():
    """A critique model has no orders; a pair that failed takes no part."""
    assert measure_orders([Judged(id="1", rewards=(1.0, 0.0))]) is None
    assert measure_orders([pair(1, 1.0, 1.0, rewards=None)]) is None
    assert figures([Judged(id="1", rewards=(1.0, 0.0))])["orders"] is None
    mixed = measure_orders([pair(1, 1.0, 1.0), pair(2, 1.0, 1.0, rewards=None)])
    assert mixed is not None
    assert mixed.pairs == 1


def test_only_ties_have_no_winner():
    """Of judgements without a winner nobody can say who wins: no share, not one half."""
    found = measure_orders([pair(n, 0.0, 0.0) for n in range(3)])
    assert found is not None
    assert (found.first_wins.share, found.first_wins.ci95) == (None, None)
    assert found.ties.share == 1.0
    assert found.order_consistency.share == 1.0
    said = figures([pair(n, 0.0, 0.0) for n in range(3)])["orders"]
    assert (said["first_wins"], said["first_wins_ci95"]) == (None, None)


@settings(max_examples=20)
@given(st.lists(st.tuples(DELTAS, DELTAS), min_size=1, max_size=12), st.integers(1, 3))
def test_exchanged_answers(deltas, pairs_per_id):
    """The other answer chosen: what was right is wrong, position and consistency are the same."""
    pairs = [pair(n // pairs_per_id, *both) for n, both in enumerate(deltas)]
    # Chosen and rejected change places: the old second order becomes the first one, with δ negated.
    mirrored = [
        pair(n // pairs_per_id, -backward, -forward) for n, (forward, backward) in enumerate(deltas)
    ]
    one, other = measure_orders(pairs), measure_orders(mirrored)
    assert one is not None
    assert other is not None
    for name in ("order_consistency", "first_wins", "ties"):
        assert getattr(one, name) == getattr(other, name)
    lost = sum(b < 0 for _, b in deltas)
    assert other.acc_chosen_first.hits == lost
    assert one.acc_one_order.hits + other.acc_one_order.hits + one.ties.hits == 2 * len(deltas)
    assert one.acc_one_order.hits == one.acc_chosen_first.hits + one.acc_chosen_second.hits


def test_read_from_a_row():
    """Both orders are read back; what is no two numbers ends the reading."""
    row = {"id": "1", "rewards": [1.0, 0.5], "orders": [2, -1.0]}
    assert judged(row).orders == (2.0, -1.0)
    assert judged({"id": "1", "rewards": [1.0, 0.5], "orders": None}).orders is None
    for bad in ([1.0], "ab", [1.0, None], [True, 1.0], [float("inf"), 0.0], {"a": 1}):
        with pytest.raises(InvalidInput, match="orders"):
            judged({**row, "orders": bad})
