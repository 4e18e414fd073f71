"""How well scores of a group follow its known order: with and without comparing its answers.

Every pair of answers of a group is judged in both orders once. What a smaller schedule, or one with
failed comparisons, would have given is computed from the same judgements with the schedules and the
aggregations of the service, so ways differ by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from mmreward_client.schema import Aggregate, Orders
from mmreward_service.judging.aggregation import AGGREGATIONS, Aggregated
from mmreward_service.judging.schedule import Comparisons, Game, schedule
from mmreward_service.reward.judgement import Scores

from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits_judge.groups import Comparison, Group
from mmreward_trainer.digits_judge.judging import judge


@dataclass(frozen=True)
class JudgedGroup:
    """A group with the scores of all its games, in both orders; failed games are not there."""

    group: Group
    played: dict[Game, Scores]
    alone: list[float | None]  # the critique head's score of every answer by itself

    def scores(
        self,
        orders: Orders,
        comparisons: Comparisons = "all",
        aggregate: Aggregate = "mean",
        missing: float = 0.0,
        seed: int = 0,
    ) -> Aggregated:
        """One score per answer. `missing` of the scheduled games count as failed."""
        count = len(self.group.answers)
        games = schedule(count, comparisons, orders)
        kept = np.random.default_rng((23, seed)).random(len(games)) >= missing
        good = {
            game: self.played[game]
            for game, keep in zip(games, kept, strict=True)
            if keep and game in self.played
        }
        return AGGREGATIONS[aggregate](count, good, games)

    def spearman(self, scores: Sequence[float | None]) -> float | None:
        """Rank correlation with the known qualities; see `spearman`."""
        return spearman(self.group.points, scores)


def judge_groups(digit_model: DigitModel, groups: list[Group]) -> list[JudgedGroup]:
    """Every game of every group, greedy, and every answer alone."""
    games = [schedule(len(group.answers), "all", "both") for group in groups]
    comparisons = [
        Comparison(group.pair, group.answers[game.first], group.answers[game.second])
        for group, own in zip(groups, games, strict=True)
        for game in own
    ]
    judged = iter(judge(digit_model, comparisons))
    alone = score_alone(digit_model, groups)
    found = []
    for group, own, single in zip(groups, games, alone, strict=True):
        results = [(game, next(judged).scores) for game in own]
        played = {game: scores for game, scores in results if scores is not None}
        found.append(JudgedGroup(group, played, single))
    return found


def score_alone(digit_model: DigitModel, groups: list[Group]) -> list[list[float | None]]:
    """The critique model's score of each answer, critique self-written; None if unfinished."""
    pairs = [
        replace(group.pair, chosen=answer, rejected=group.answers[0])
        for group in groups
        for answer in group.answers[1:]
    ]
    scored = iter(digit_model.score_pairs(pairs))
    found = []
    for group in groups:
        own = [next(scored) for _ in group.answers[1:]]
        found.append([own[0].rejected[0].score, *(one.chosen[0].score for one in own)])
    return found


def spearman(truth: Sequence[float], scores: Sequence[float | None]) -> float | None:
    """Spearman's rank correlation over the answers that have a score, ties by mean rank.

    Scores that are all equal order nothing: 0. None where fewer than two answers have a score, or
    these are all of one quality, so that there is no order to find.
    """
    from scipy.stats import rankdata

    scored = [(a, b) for a, b in zip(truth, scores, strict=True) if b is not None]
    if len(scored) < 2 or len({a for a, _ in scored}) < 2:
        return None
    ranks = [rankdata(values) for values in zip(*scored, strict=True)]
    if np.ptp(ranks[1]) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
