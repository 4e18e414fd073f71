"""All metrics of one app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from mmreward_service.metrics.identity import Identity
from mmreward_service.metrics.page import render
from mmreward_service.metrics.pictures import PictureMetrics
from mmreward_service.metrics.quality import Quality
from mmreward_service.metrics.saturation import Saturation
from mmreward_service.metrics.traffic import Traffic
from mmreward_service.reward.spec import Kind


class Metrics:
    """Children are created up front, so that every series starts at 0."""

    def __init__(self, admission_limit: int) -> None:
        self.registry = CollectorRegistry()
        self.traffic = Traffic(self.registry)
        self.saturation = Saturation(self.registry, admission_limit)
        self.quality = Quality(self.registry)
        self.pictures = PictureMetrics(self.registry)
        self.identity = Identity(self.registry)

    def create_model(self, model: str, kinds: list[Kind], provenance: Mapping[str, Any]) -> None:
        """The series of the model that was loaded."""
        self.quality.create_model(model, kinds)
        self.identity.create_model(model, kinds, provenance)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """What `/metrics` answers, and its content type."""
        return render(self.registry, accept)
