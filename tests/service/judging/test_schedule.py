"""Which comparisons are made: everybody equally often, and first as often as second."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.schema import Orders
from mmreward_service.judging.schedule import Comparisons, Game, number_of_games, schedule

COUNTS = st.integers(2, 24)
WANTED = st.one_of(st.just("all"), st.integers(1, 30))
ORDERS = st.sampled_from(["both", "balanced"])


@given(COUNTS, WANTED, ORDERS)
def test_the_number_is_known_without_making_the_list(
    count: int, wanted: Comparisons, orders: Orders
) -> None:
    """Admission counts what will be played, and nothing is played twice or against oneself."""
    games = schedule(count, wanted, orders)
    assert len(games) == number_of_games(count, wanted, orders)
    assert len(set(games)) == len(games)
    assert all(game.first != game.second for game in games)
    assert {player for game in games for player in game.players} == set(range(count))


@given(COUNTS, WANTED)
def test_everybody_has_k_opponents(count: int, wanted: Comparisons) -> None:
    """Exactly K, or all there are; where n * K is odd one response has one more."""
    games = schedule(count, wanted, "balanced")
    opponents = Counter(player for game in games for player in game.players)
    asked = count - 1 if wanted == "all" else min(wanted, count - 1)
    surplus = sorted(opponents[player] - asked for player in range(count))
    assert surplus == [0] * (count - 1) + [count * asked % 2]
    pairs = {frozenset(game.players) for game in games}
    assert len(pairs) == len(games)


@given(COUNTS, WANTED)
def test_balanced_games_favour_no_position(count: int, wanted: Comparisons) -> None:
    """First and second differ by at most one for everybody: by none at an even number of games."""
    games = schedule(count, wanted, "balanced")
    for player in range(count):
        first = sum(game.first == player for game in games)
        second = sum(game.second == player for game in games)
        assert abs(first - second) == (first + second) % 2


@given(COUNTS, WANTED)
def test_both_orders_are_the_balanced_games_and_their_mirror_images(
    count: int, wanted: Comparisons
) -> None:
    """Side by side, so that a deadline seldom parts them."""
    once = schedule(count, wanted, "balanced")
    both = schedule(count, wanted, "both")
    assert both[::2] == once
    assert both[1::2] == [game.swap() for game in once]


@given(COUNTS, ORDERS, st.data())
def test_wherever_the_list_is_cut_nobody_is_far_ahead(
    count: int, orders: Orders, data: st.DataObject
) -> None:
    """At a deadline everybody has been judged about equally often."""
    games = schedule(count, "all", orders)
    cut = data.draw(st.integers(0, len(games)))
    played = Counter(player for game in games[:cut] for player in game.players)
    per_game = 2 if orders == "both" else 1
    counts = [played[player] for player in range(count)]
    assert max(counts) - min(counts) <= 2 * per_game


def test_neighbours_in_a_ring() -> None:
    """Two opponents are the two neighbours; the third is the opposite one."""
    ring = {frozenset(game.players) for game in schedule(6, 2, "balanced")}
    assert ring == {frozenset({i, (i + 1) % 6}) for i in range(6)}
    three = {frozenset(game.players) for game in schedule(6, 3, "balanced")}
    assert three - ring == {frozenset({i, i + 3}) for i in range(3)}


def test_one_response_is_compared_with_itself() -> None:
    """What is left where all responses are the same text."""
    assert schedule(1, "all", "both") == [Game(0, 0)]
    assert number_of_games(1, 3, "balanced") == 1
