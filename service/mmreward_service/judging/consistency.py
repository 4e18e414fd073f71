"""Whether a judge says the same when the two responses change places."""

from __future__ import annotations

from collections.abc import Mapping

from mmreward_service.judging.schedule import Game
from mmreward_service.reward.judgement import Scores


def agreements(judged: Mapping[Game, Scores]) -> list[bool]:
    """One entry per pair judged in both orders: do both name the same winner? Two ties agree."""
    return [
        _sign(scores) == -_sign(judged[game.swap()])
        for game, scores in judged.items()
        if game.first < game.second and game.swap() in judged
    ]


def _sign(scores: Scores) -> int:
    return (scores[0] > scores[1]) - (scores[0] < scores[1])
