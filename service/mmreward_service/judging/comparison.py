"""One comparison: two responses in an order, K judgements, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmreward_client.schema import Comparison, CritiqueStatus, GroupItem, PairItem

from mmreward_service.asking import Asker, Failure
from mmreward_service.engine.protocol import Media, Reading
from mmreward_service.reward.judgement import Scores, Unparsed, parse_scores


@dataclass(frozen=True)
class Judgement:
    """One text of the judge; `scores`, first and second, if and only if its status is ok."""

    text: str | None
    scores: Scores | None
    status: CritiqueStatus
    finish_reason: str | None = None
    tokens: int = 0
    error: str | None = None


async def compare(
    asker: Asker,
    item: GroupItem | PairItem,
    media: Media,
    first: str,
    second: str,
    siblings: int,
) -> list[Judgement] | Failure:
    """The K judgements of two responses in this order, one of `siblings` comparisons."""
    spec, renderer = asker.service.engine.spec, asker.service.engine.renderer

    def render() -> list[int]:
        return renderer.render_judge(
            prompt=item.prompt,
            first=first,
            second=second,
            images=0 if media.is_video else len(media.images),
            video=media.is_video,
        )

    async def work() -> list[Judgement]:
        ids = await asker.prompt(render, item.prompt, first, second, siblings=siblings)
        outcome = await asker.write(ids, media)
        with asker.stopwatch.stage("parse"):
            return [judgement(reading, spec.score_range) for reading in outcome.readings]

    judged = await asker.attempt(work, permits=asker.accepted.critiques)
    count_comparison(asker, judged)
    return judged


def count_comparison(asker: Asker, judged: list[Judgement] | Failure) -> None:
    """Into the metrics: its status, its texts, and the scores of its two responses."""
    quality = asker.service.metrics.quality
    if isinstance(judged, Failure):
        quality.comparison(judged.status)
        return
    quality.comparison(overall(judged).status)
    for one in judged:
        quality.text("judge", one.status, one.tokens)
    for score in mean_scores(judged) or ():
        quality.score("judge", score)


def judgement(reading: Reading, score_range: Sequence[float] | None) -> Judgement:
    """What a text says: it is parsed only where it was finished."""
    scores: Scores | None = None
    status, error = reading.status, reading.error
    if status == "ok":
        parsed = parse_scores(reading.text or "", score_range)
        if isinstance(parsed, Unparsed):
            status, error = "unparsed", parsed.reason
        else:
            scores = parsed
    return Judgement(reading.text, scores, status, reading.finish_reason, reading.tokens, error)


def overall(judgements: Sequence[Judgement]) -> Judgement:
    """The first good one of K; where there is none, the first."""
    return next((one for one in judgements if one.scores is not None), judgements[0])


def mean_scores(judgements: Sequence[Judgement]) -> Scores | None:
    """The mean of the good ones of K; None where there is none."""
    good = [one.scores for one in judgements if one.scores is not None]
    if not good:
        return None
    return (
        math.fsum(scores[0] for scores in good) / len(good),
        math.fsum(scores[1] for scores in good) / len(good),
    )


def comparison(first: int, second: int, judged: list[Judgement] | Failure) -> Comparison:
    """On the wire: the indices of the two responses, and what their comparison came to."""
    if isinstance(judged, Failure):
        return Comparison(first=first, second=second, status=judged.status, error=judged.error)
    shown = overall(judged)
    return Comparison(
        first=first,
        second=second,
        scores=mean_scores(judged),
        critique=shown.text,
        status=shown.status,
        critiques_ok=sum(one.scores is not None for one in judged),
        tokens=sum(one.tokens for one in judged),
        error=shown.error if shown.error or shown.status == "ok" else shown.status,
    )
