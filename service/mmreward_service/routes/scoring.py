"""`/v1/score` and `/v1/pairs`: read, run, answer. The way in between is `pipeline`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from mmreward_client.schema import PairItem, PairsRequest, ScoreItem, ScoreRequest

from mmreward_service.answer import answer, read_request
from mmreward_service.auth import require_key

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[require_key])


@router.post("/score", summary="Critique and score responses")
async def score(request: Request) -> Response:
    return await answer(request, await read_request(request, ScoreRequest), ScoreItem)


@router.post("/pairs", summary="Score pairs: margin, probability and beta")
async def pairs(request: Request) -> Response:
    return await answer(request, await read_request(request, PairsRequest), PairItem)
