"""Responses before a critique model: each is written a critique and scored by itself."""

from __future__ import annotations

import asyncio

from mmreward_client.schema import (
    PairItem,
    PairResult,
    PairsRequest,
    Scored,
    ScoreItem,
    ScoreRequest,
    ScoreResult,
)

from mmreward_service.asking import Asker, Failure
from mmreward_service.intake import Parsed
from mmreward_service.reward.spec import Mode
from mmreward_service.scoring import failed, pair_result, score_result, scored


class Scores:
    """The way of `/v1/score`."""

    def __init__(self, request: ScoreRequest) -> None:
        self._request = request

    def critiques(self, item: ScoreItem) -> int:
        return 1

    def invalid(self, parsed: Parsed, error: str) -> ScoreResult:
        return score_result(parsed.index, parsed.id, failed("invalid", error))

    async def serve(
        self, asker: Asker, index: int, id_: str | None, item: ScoreItem
    ) -> ScoreResult:
        one = await _score(asker, item, item.response, item.critique)
        return score_result(index, id_, one)


class Pairs:
    """The way of `/v1/pairs` with a critique model: both sides side by side."""

    def __init__(self, request: PairsRequest) -> None:
        self._request = request

    def critiques(self, item: PairItem) -> int:
        return 2

    def invalid(self, parsed: Parsed, error: str) -> PairResult:
        return PairResult(index=parsed.index, id=parsed.id, status="invalid", error=error)

    async def serve(self, asker: Asker, index: int, id_: str | None, item: PairItem) -> PairResult:
        chosen, rejected = await asyncio.gather(
            _score(asker, item, item.chosen, item.chosen_critique),
            _score(asker, item, item.rejected, item.rejected_critique),
        )
        critiques = asker.accepted.critiques
        calibration = asker.service.engine.spec.find_calibration(item.mode, critiques)
        result = pair_result(index, id_, chosen, rejected, calibration, self._request.beta)
        if result.delta is not None:
            asker.service.metrics.quality.margin("critique", result.delta)
        return result


async def _score(
    asker: Asker, item: ScoreItem | PairItem, response: str, critique: str | None
) -> Scored:
    """One response, whatever happens to it; `critique` is the text of mode given."""
    renderer = asker.service.engine.renderer

    async def work() -> Scored:
        async with asker.media(item) as media:

            def render() -> list[int]:
                return renderer.render(
                    prompt=item.prompt,
                    response=response,
                    images=0 if media.is_video else len(media.images),
                    video=media.is_video,
                    mode=item.mode,
                    critique=critique,
                )

            ids = await asker.prompt(render, item.prompt, response, critique or "")
            ask = asker.critique if item.mode == "generate" else asker.read
            outcome = await ask(ids, media)
            with asker.stopwatch.stage("parse"):
                one = scored(outcome.readings, item.mode, critique)
            _count(asker, one, item.mode)
            return one

    result = await asker.attempt(work, permits=asker.accepted.critiques)
    return failed(result.status, result.error) if isinstance(result, Failure) else result


def _count(asker: Asker, one: Scored, mode: Mode) -> None:
    """Into the metrics: its score, and the texts that the model wrote for it."""
    quality = asker.service.metrics.quality
    if one.score is not None:
        quality.score("critique", one.score)
    if mode == "generate":
        for text in one.critiques:
            quality.text("critique", text.status, text.tokens)
