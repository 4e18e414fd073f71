"""`/get_reward` in the shape of OpenRLHF's remote reward model: text only, numbers only.

That shape has no place for a failure, so one failed item makes the whole reply an error: never a
null, never a zero.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from mmreward_client.schema import GetRewardReply, GetRewardRequest, ScoreRequest

from mmreward_service.answer import collect, json_response, read_request
from mmreward_service.auth import require_key
from mmreward_service.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    NotScored,
    RefusedError,
)
from mmreward_service.pipeline import Result, Run
from mmreward_service.state import request_id_of, service_of

router = APIRouter(tags=["compatibility"], dependencies=[require_key])


@router.post("/get_reward", summary="OpenRLHF's remote reward shape, text only")
async def get_reward(request: Request) -> Response:
    body = await read_request(request, GetRewardRequest)
    service = service_of(request)
    end_of_turn = service.engine.spec.templates.end_of_turn
    scoring = ScoreRequest(items=items_of(body, end_of_turn))
    results = await collect(request, Run(service, scoring, request_id_of(request)))
    scores, tokens = [], []
    for result in results:
        scores.append(_score_or_refuse(result))
        tokens.append(float(_critique_tokens(result)))
    reply = GetRewardReply(rewards=scores, scores=scores, extra_logs={"critique_tokens": tokens})
    return json_response(reply)


def items_of(body: GetRewardRequest, end_of_turn: str) -> list[dict[str, str]]:
    """Responses are queries without their prompt, and without the end-of-turn a trainer leaves."""
    items = []
    for i, (query, prompt) in enumerate(zip(body.query, body.prompts, strict=True)):
        if not query.startswith(prompt):
            raise InvalidRequest(f"query[{i}] does not begin with prompts[{i}]", param="query")
        response = query[len(prompt) :].removesuffix("\n").removesuffix(end_of_turn)
        items.append({"prompt": prompt, "response": response})
    return items


def _score_or_refuse(result: Result) -> float:
    score = getattr(result, "score", None)
    if score is not None:
        return float(score)
    kinds: dict[str, type[RefusedError]] = {
        "deadline": DeadlineExceeded,
        "internal": InternalError,
    }
    message = f"query[{result.index}] has no score: {result.status}: {result.error}"
    raise kinds.get(result.status, NotScored)(message, param="query")


def _critique_tokens(result: Result) -> int:
    critiques = getattr(result, "critiques", [])
    return sum(critique.tokens for critique in critiques)
