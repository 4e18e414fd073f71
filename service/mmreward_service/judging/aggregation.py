"""From the scores of comparisons to one score per response: four ways.

Each takes the number of responses, the good comparisons that were played, and all that were
scheduled (only `additive` looks at these, to make up for what is missing). A response without a
good comparison has no score (None), whatever the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from mmreward_client.schema import Aggregate
from numpy.typing import NDArray

from mmreward_service.judging.schedule import Game
from mmreward_service.reward.judgement import Scores

Played = Mapping[Game, Scores]
Aggregated = list[float | None]

PRIOR_PRECISION = 0.1
"""Of Bradley-Terry log-strengths: a normal prior with a standard deviation of 3.2."""

_NEWTON_STEPS = 100
_CONVERGED = 1e-9


def mean(count: int, played: Played, scheduled: Sequence[Game]) -> Aggregated:
    """S(i) = mean of the scores that response i itself got in its good comparisons.

    Generative RLHF-V (arXiv 2505.18531, grouped comparison): over all opponents and both orders.
    The paper does not provide for an unusable judgement; here it is left out, and what remains
    depends on which opponents are left: `additive` corrects for that.
    """
    own: list[list[float]] = [[] for _ in range(count)]
    for game, scores in played.items():
        for player, score in zip(game.players, scores, strict=True):
            own[player].append(score)
    return [math.fsum(scores) / len(scores) if scores else None for scores in own]


def additive(count: int, played: Played, scheduled: Sequence[Game]) -> Aggregated:
    """S(i) = mean over the scheduled games of i of the fitted score, by least squares:

        score of i against j in a position = mean + response_i + opponent_j + position

    This is the population marginal mean of a layout with missing cells (S. R. Searle, F. M. Speed
    and G. A. Milliken, The American Statistician 34, 1980). Where all games of i were played, its
    residuals sum to zero, so its score is its plain mean exactly, whatever others miss. A missing
    game is replaced by what the fit expects of it: whoever misses games against strong opponents
    is not the better for it.

    Effects are taken from the grand mean, with the solution of minimum norm: what the games do not
    determine is left at zero. An opponent without a good game thus counts as an average one, and
    parts of a group that no good game connects are put side by side as if they were equally good
    on average. That is a guess; such scores compare within a part only.
    """
    seats = [
        (game, place, score) for game, two in played.items() for place, score in enumerate(two)
    ]
    if not seats:
        return [None] * count
    observed = np.array([score for _, _, score in seats])
    grand_mean = float(observed.mean())
    design = np.array([_row(count, game, place) for game, place, _ in seats])
    effects = np.linalg.lstsq(design, observed - grand_mean, rcond=None)[0]
    expected: list[list[float]] = [[] for _ in range(count)]
    for game in scheduled:
        for place, player in enumerate(game.players):
            expected[player].append(grand_mean + float(_row(count, game, place) @ effects))
    return [
        math.fsum(fitted) / len(fitted) if games else None
        for fitted, games in zip(expected, comparisons_of(count, played), strict=True)
    ]


def win_rate(count: int, played: Played, scheduled: Sequence[Game]) -> Aggregated:
    """S(i) = (wins + ties / 2) / good comparisons of i, from 0 to 1.

    The Borda count, over the games: among the alternatives of Generative RLHF-V (its table 4), and
    there below the mean of scores.
    """
    return mean(count, {game: _shares(scores) for game, scores in played.items()}, scheduled)


def bradley_terry(count: int, played: Played, scheduled: Sequence[Game]) -> Aggregated:
    """S(i) = log-strength theta_i, where P(i beats j) = 1 / (1 + exp(theta_j - theta_i)).

    R. A. Bradley and M. E. Terry, Biometrika 39, 1952; a tie is half a win for each. Maximum of the
    likelihood times a normal prior N(0, 1 / PRIOR_PRECISION) on each theta: a clean sweep stays
    finite, and the solution is unique with thetas that sum to zero in every part of the group that
    its games connect. Found by Newton's method with step halving, which converges on a strictly
    concave function.
    """
    wins = np.zeros((count, count))
    for game, scores in played.items():
        if game.first != game.second:
            share = _shares(scores)
            wins[game.first, game.second] += share[0]
            wins[game.second, game.first] += share[1]
    strengths = _strengths(wins)
    games = comparisons_of(count, played)
    return [float(strengths[i]) if games[i] else None for i in range(count)]


AGGREGATIONS: dict[Aggregate, Callable[[int, Played, Sequence[Game]], Aggregated]] = {
    "mean": mean,
    "additive": additive,
    "win_rate": win_rate,
    "bradley_terry": bradley_terry,
}


def comparisons_of(count: int, played: Played) -> list[int]:
    """How many good comparisons each response took part in."""
    return [sum(player in game.players for game in played) for player in range(count)]


def _row(count: int, game: Game, place: int) -> NDArray[np.float64]:
    """The design of one score: mean, response, opponent, position; (1 + 2 * count + 2,)."""
    row = np.zeros(1 + 2 * count + 2)
    player, opponent = game.players[place], game.players[1 - place]
    row[[0, 1 + player, 1 + count + opponent, 1 + 2 * count + place]] = 1.0
    return row


def _shares(scores: Scores) -> Scores:
    """What a comparison is worth to the first and to the second: 1, 1/2 or 0."""
    first = 0.5 * (1 + (scores[0] > scores[1]) - (scores[0] < scores[1]))
    return first, 1.0 - first


def _strengths(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """wins (count, count), of row over column -> log-strengths (count,)."""
    games = wins + wins.T
    theta = np.zeros(len(wins))
    for _ in range(_NEWTON_STEPS):
        chance = np.exp(-np.logaddexp(0, theta[None, :] - theta[:, None]))
        gradient = (wins - games * chance).sum(axis=1) - PRIOR_PRECISION * theta
        if np.abs(gradient).max() < _CONVERGED:
            break
        weight = games * chance * (1 - chance)
        curvature = np.diag(weight.sum(axis=1) + PRIOR_PRECISION) - weight
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while _posterior(wins, theta + size * step) < _posterior(wins, theta) and size > 1e-6:
            size /= 2
        theta = theta + size * step
    return theta


def _posterior(wins: NDArray[np.float64], theta: NDArray[np.float64]) -> float:
    """Logarithm of likelihood and prior, up to a constant."""
    likelihood = -(wins * np.logaddexp(0, theta[None, :] - theta[:, None])).sum()
    return float(likelihood - PRIOR_PRECISION / 2 * (theta**2).sum())
