"""The ASGI application: parts wired together, nothing decided.

uvicorn
└── RequestContext     id, log line, metrics, last resort
    └── BodyLimit      413 while reading
        └── FastAPI    routes, keys, refusals
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from mmreward_service import __version__, openapi, refusals
from mmreward_service.admission import Admission
from mmreward_service.engine.build import build_engine
from mmreward_service.engine.protocol import Engine
from mmreward_service.engine_watch import EngineWatch
from mmreward_service.fairness import FairQueue
from mmreward_service.images import ImageLimits
from mmreward_service.media import Decoder
from mmreward_service.metrics import Metrics
from mmreward_service.middleware import BodyLimit, RequestContext
from mmreward_service.routes import compatible, models, public, scoring
from mmreward_service.settings import Settings
from mmreward_service.startup import Readiness
from mmreward_service.state import Service


def create_app(
    settings: Settings,
    engine: Engine | None = None,
    on_start_failure: Callable[[], None] | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """The app of one engine; `engine` None builds the one that the settings name.

    `metrics` replaces the usual ones, for whoever measures what they cost.

    The engine starts in the background when the app does: /health answers from the first moment,
    /ready and the scoring routes say 503 until the model is loaded and checked.
    """
    metrics = metrics or Metrics(settings.max_in_flight)
    service = _assemble(settings, engine or build_engine(settings), metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        start = asyncio.create_task(service.readiness.start(service.engine, on_start_failure))
        try:
            yield
        finally:
            start.cancel()
            with suppress(asyncio.CancelledError):
                await start
            service.readiness.engine_stopped = True
            await service.engine.close()
            service.decoder.close()

    app = FastAPI(
        title="mmreward",
        version=__version__,
        summary="Critique, score, margin and beta of multimodal responses.",
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    traffic = service.metrics.traffic
    for module in (scoring, models, compatible, public):
        app.include_router(module.router)
        traffic.create_routes(getattr(route, "path", "") for route in module.router.routes)
    traffic.create_routes(["unmatched"])
    traffic.create_keys(settings.key_names)
    refusals.install(app)
    openapi.install(app)
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(RequestContext, metrics=service.metrics)
    return app


def _assemble(settings: Settings, engine: Engine, metrics: Metrics) -> Service:
    admission = Admission(settings.max_in_flight, settings.retry_after_s)
    watch = EngineWatch(lambda: engine.tokens_done)
    readiness = Readiness(
        metrics,
        watch,
        retry_after_s=settings.retry_after_s,
        tolerance=settings.parity_tolerance,
        stall_after_s=settings.stall_after_s,
    )
    metrics.saturation.follow(admission, watch, lambda: readiness.is_ready)
    return Service(
        settings=settings,
        engine=engine,
        admission=admission,
        decoder=Decoder(
            ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
            settings.decode_threads,
            settings.max_pixels_in_flight,
            metrics.pictures,
        ),
        metrics=metrics,
        queue=FairQueue(),
        watch=watch,
        readiness=readiness,
        created=int(time.time()),
    )
