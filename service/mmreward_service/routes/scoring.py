"""`/v1/score`, `/v1/pairs`, `/v1/groups`: read, run, answer. The way in between is `pipeline`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from mmreward_client.schema import GroupsRequest, PairsRequest, ScoreRequest

from mmreward_service.answer import answer, read_request
from mmreward_service.auth import require_key

router = APIRouter(prefix="/v1", tags=["scoring"], dependencies=[require_key])


@router.post("/score", summary="Critique and score responses")
async def score(request: Request) -> Response:
    return await answer(request, await read_request(request, ScoreRequest))


@router.post("/pairs", summary="Score or judge pairs: margin, probability and beta")
async def pairs(request: Request) -> Response:
    return await answer(request, await read_request(request, PairsRequest))


@router.post("/groups", summary="Compare the responses of a group with each other")
async def groups(request: Request) -> Response:
    return await answer(request, await read_request(request, GroupsRequest))
