"""What probes and scrapers ask, without a key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from mmreward_client.schema import API_VERSION

from mmreward_service import __version__
from mmreward_service.state import service_of

router = APIRouter(tags=["public"])


@router.get("/health", summary="The process is alive")
async def health() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/ready", summary="Scores can be had; 503 with the reason otherwise")
async def ready(request: Request) -> dict[str, str | float | None]:
    service = service_of(request)
    await service.readiness.raise_if_not_ready(service.engine)
    return {
        "status": "ready",
        "model": service.engine.model_name,
        "parity_error": service.readiness.parity_error,
    }


@router.get("/version", summary="Version of the service and of its API")
async def version() -> dict[str, str | int]:
    return {"version": __version__, "api_version": API_VERSION}


@router.get("/metrics", summary="Prometheus metrics, vLLM's included")
async def metrics(request: Request) -> Response:
    accept = ",".join(request.headers.getlist("accept"))
    page, content_type = service_of(request).metrics.page(accept)
    return Response(page, media_type=content_type)
