"""`/v1/models`: the model that is served, what its scores depend on, and every limit."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from mmreward_client.schema import Limits, ModelCard, ModelList, Provenance

from mmreward_service.answer import json_response
from mmreward_service.auth import require_key
from mmreward_service.state import Service, service_of

router = APIRouter(prefix="/v1", tags=["models"], dependencies=[require_key])


@router.get("/models", summary="The model, its provenance and every limit")
async def models(request: Request) -> Response:
    service = service_of(request)
    service.readiness.raise_if_scores_are_refused()
    return json_response(ModelList(data=[_card(service)]))


def _card(service: Service) -> ModelCard:
    engine, spec = service.engine, service.engine.spec
    most = service.settings.max_critique_tokens
    own_fields = {
        "score_range": spec.score_range,
        # What `max_critique_tokens: null` stands for.
        "default_tokens": {kind: min(spec.max_tokens(kind), most) for kind in spec.kinds},
    }
    return ModelCard(
        id=engine.model_name,
        created=service.created,
        kinds=list(spec.kinds),
        # A judge writes its judgements itself, and its scores are read from their text.
        modes=["generate", "given", "none"] if spec.head is not None else ["generate"],
        read_out=spec.read_out if spec.head is not None else "text",
        calibration=[one.model_dump(mode="json") for one in spec.calibration],
        provenance=Provenance(**engine.provenance),
        limits=_limits(service),
        **own_fields,
    )


def _limits(service: Service) -> Limits:
    settings = service.settings
    own_names = {
        "max_pixels_in_flight": settings.max_pixels_in_flight,
        "default_deadline_ms": int(settings.default_deadline_s * 1000),
        "max_deadline_ms": int(settings.max_deadline_s * 1000),
    }
    return Limits(
        max_items=settings.max_items,
        max_critiques=settings.max_critiques,
        max_in_flight=settings.max_in_flight,
        max_body_bytes=settings.max_body_bytes,
        max_image_bytes=settings.max_image_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_images_per_item=settings.max_images_per_item,
        max_frames_per_item=settings.max_frames_per_item,
        max_critique_tokens=settings.max_critique_tokens,
        max_model_len=service.engine.max_model_len,
        **own_names,
    )
