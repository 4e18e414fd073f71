"""What the routes of one app share. Built once in `create_app`, found at `app.state.service`."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from mmreward_service.admission import Admission
from mmreward_service.engine.protocol import Engine
from mmreward_service.engine_watch import EngineWatch
from mmreward_service.fairness import FairQueue
from mmreward_service.media import Decoder
from mmreward_service.metrics import Metrics
from mmreward_service.settings import Settings
from mmreward_service.startup import Readiness


@dataclass(frozen=True)
class Service:
    settings: Settings
    engine: Engine
    admission: Admission
    decoder: Decoder
    metrics: Metrics
    queue: FairQueue
    watch: EngineWatch
    readiness: Readiness
    created: int
    """Unix time of the start."""


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def request_id_of(request: Request) -> str:
    return str(request.state.request_id)
