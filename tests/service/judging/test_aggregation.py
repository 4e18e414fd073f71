"""From comparisons to scores: what each way promises, and what it does where games are missing."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mmreward_service.judging.aggregation import (
    AGGREGATIONS,
    PRIOR_PRECISION,
    additive,
    bradley_terry,
    comparisons_of,
    mean,
    win_rate,
)
from mmreward_service.judging.schedule import Game, schedule
from mmreward_service.reward.judgement import Scores

SCORES = st.tuples(st.integers(1, 10), st.integers(1, 10)).map(
    lambda two: (float(two[0]), float(two[1]))
)
Round = tuple[int, list[Game], dict[Game, Scores]]


@st.composite
def rounds(draw: st.DrawFn, *, complete: bool = False) -> Round:
    """(count, scheduled games, the good ones with any scores)"""
    count = draw(st.integers(1, 7))
    wanted = draw(st.one_of(st.just("all"), st.integers(1, 6)))
    games = schedule(count, wanted, draw(st.sampled_from(["both", "balanced"])))
    kept = games if complete else [game for game in games if draw(st.booleans())]
    return count, games, {game: draw(SCORES) for game in kept}


@pytest.mark.parametrize("name", sorted(AGGREGATIONS))
@given(rounds())
def test_a_score_if_and_only_if_there_is_a_good_comparison(name: str, played: Round) -> None:
    """Never a number from nothing, never null from something, and always finite."""
    count, games, good = played
    scores = AGGREGATIONS[name](count, good, games)  # type: ignore[index]
    for score, comparisons in zip(scores, comparisons_of(count, good), strict=True):
        assert (score is None) == (comparisons == 0)
        assert score is None or math.isfinite(score)


@given(rounds(complete=True))
def test_the_additive_fit_is_the_mean_on_complete_data(played: Round) -> None:
    """Residuals of a response sum to zero, so the fit changes nothing where nothing is missing."""
    count, games, good = played
    assert additive(count, good, games) == pytest.approx(mean(count, good, games), abs=1e-9)


@given(rounds())
def test_whoever_played_all_its_games_keeps_its_mean(played: Round) -> None:
    """What others miss does not move a response whose own games are all there."""
    count, games, good = played
    fitted, plain = additive(count, good, games), mean(count, good, games)
    missing = {player for game in games if game not in good for player in game.players}
    for player in set(range(count)) - missing:
        assert fitted[player] == pytest.approx(plain[player], abs=1e-9)


@given(st.integers(3, 7), st.randoms(use_true_random=False))
def test_the_additive_fit_restores_missing_games_of_an_additive_judge(
    count: int, chance: random.Random
) -> None:
    """Where scores really are response + opponent + position, it finds the score of complete data
    as long as the games that are left determine it; the mean does not."""
    quality = [chance.uniform(2, 8) for _ in range(count)]
    toughness = [chance.uniform(-2, 2) for _ in range(count)]
    bias = chance.uniform(-1, 1)
    games = schedule(count, "all", "both")
    truth = {
        game: (
            quality[game.first] - toughness[game.second] + bias,
            quality[game.second] - toughness[game.first] - bias,
        )
        for game in games
    }
    lost = set(chance.sample(games, count - 2))
    left = {game: scores for game, scores in truth.items() if game not in lost}
    seats = {player for game in left for player in game.players}
    assume(len(seats) == count)
    assume(_every_effect_is_determined(count, left))
    whole = mean(count, truth, games)
    assert additive(count, left, games) == pytest.approx(whole, abs=1e-6)


def _every_effect_is_determined(count: int, left: dict[Game, Scores]) -> bool:
    """Full rank: 1 mean, and one less than the levels of response, opponent and position."""
    import numpy as np

    rows = []
    for game in left:
        for place, player in enumerate(game.players):
            row = np.zeros(2 * count + 3)
            row[[0, 1 + player, 1 + count + game.players[1 - place], 1 + 2 * count + place]] = 1
            rows.append(row)
    return bool(np.linalg.matrix_rank(np.array(rows)) == 1 + 2 * (count - 1) + 1)


def test_missing_games_against_the_strong_are_made_up_for() -> None:
    """Two equal responses, one of which misses its hard game: the mean prefers it, the fit less."""
    games = schedule(4, "all", "both")
    quality, hard = [5.0, 5.0, 9.0, 2.0], [0.0, 0.0, 2.0, -1.0]
    good = {
        game: (
            quality[game.first] - hard[game.second],
            quality[game.second] - hard[game.first],
        )
        for game in games
        if set(game.players) != {0, 2}
    }
    plain, fitted = mean(4, good, games), additive(4, good, games)
    assert plain[0] > plain[1] + 0.5  # type: ignore[operator]
    assert fitted[0] == pytest.approx(fitted[1], abs=1e-6)


def test_parts_without_a_comparison_between_them_are_put_side_by_side() -> None:
    """The stated guess: equally good on average; inside a part the order is the judge's."""
    games = schedule(4, "all", "both")
    good = {
        game: (9.0, 7.0) if game == Game(0, 1) else (2.0, 4.0)
        for game in games
        if set(game.players) in ({0, 1}, {2, 3}) and game.first < game.second
    }
    scores = additive(4, good, games)
    assert None not in scores
    assert scores[0] > scores[1]  # type: ignore[operator]
    assert scores[3] > scores[2]  # type: ignore[operator]


@pytest.mark.parametrize("aggregate", [mean, additive, win_rate, bradley_terry])
@given(rounds(), st.permutations(range(7)))
def test_names_do_not_matter(
    aggregate: Callable[..., list[float | None]], played: Round, order: list[int]
) -> None:
    """Renaming the responses renames their scores."""
    count, games, good = played
    names = [name for name in order if name < count]

    def rename(game: Game) -> Game:
        return Game(names[game.first], names[game.second])

    before = aggregate(count, good, games)
    renamed = {rename(game): scores for game, scores in good.items()}
    after = aggregate(count, renamed, [rename(game) for game in games])
    assert [after[name] for name in names] == pytest.approx(before, abs=1e-6)


@given(rounds())
def test_win_rates_are_shares(played: Round) -> None:
    """From 0 to 1; over all games and both players they make one half."""
    count, games, good = played
    rates = win_rate(count, good, games)
    assert all(rate is None or 0 <= rate <= 1 for rate in rates)
    seats = [sum(g.players.count(player) for g in good) for player in range(count)]
    points = sum((rate or 0) * n for rate, n in zip(rates, seats, strict=True))
    assert points == pytest.approx(len(good))


def test_two_ties_and_a_win() -> None:
    """Half a point for a tie, one for a win."""
    games = [Game(0, 1), Game(1, 0), Game(0, 2)]
    good = {games[0]: (5.0, 5.0), games[1]: (3.0, 3.0), games[2]: (8.0, 1.0)}
    assert win_rate(3, good, games) == pytest.approx([2 / 3, 0.5, 0.0])


def test_bradley_terry_solves_its_equations() -> None:
    """At the maximum, wins - expected wins = precision * theta for every response."""
    chance = random.Random(4)
    games = schedule(6, "all", "both")
    good = {game: (float(chance.randint(1, 4)), float(chance.randint(1, 4))) for game in games}
    theta = bradley_terry(6, good, games)
    assert sum(theta) == pytest.approx(0, abs=1e-8)  # type: ignore[arg-type]
    for player in range(6):
        slope = 0.0
        for game, (first, second) in good.items():
            if player in game.players:
                own, other = (first, second) if game.first == player else (second, first)
                rival = game.second if game.first == player else game.first
                won = 0.5 * (1 + (own > other) - (own < other))
                slope += won - 1 / (1 + math.exp(theta[rival] - theta[player]))  # type: ignore[operator]
        assert slope == pytest.approx(PRIOR_PRECISION * theta[player], abs=1e-6)  # type: ignore[operator]


@given(st.integers(2, 16))
def test_a_clean_sweep_is_finite_and_in_order(count: int) -> None:
    """Every better one beats every worse one: no strength runs away, none is out of order."""
    games = [Game(i, j) for i, j in itertools.permutations(range(count), 2)]
    good = {game: (float(count - game.first), float(count - game.second)) for game in games}
    theta = bradley_terry(count, good, games)
    assert all(one > other for one, other in itertools.pairwise(theta))  # type: ignore[operator]
    assert max(map(abs, theta)) < 50  # type: ignore[arg-type]


def test_of_a_text_against_itself_only_the_mean_of_both_scores_is_left() -> None:
    """One game, both seats the same response."""
    games = [Game(0, 0)]
    good = {games[0]: (7.0, 4.0)}
    assert mean(1, good, games) == [5.5]
    assert additive(1, good, games) == pytest.approx([5.5])
    assert win_rate(1, good, games) == [0.5]
    assert bradley_terry(1, good, games) == [0.0]
    assert comparisons_of(1, good) == [1]
