"""What runs and what is served, as labels of gauges that are always 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmreward_client.schema import API_VERSION
from prometheus_client import CollectorRegistry, Gauge

from mmreward_service import __version__
from mmreward_service.engine.vllm.versions import installed_version, vllm_version
from mmreward_service.reward.spec import Kind


class Identity:
    def __init__(self, registry: CollectorRegistry) -> None:
        build = Gauge(
            "mmreward_build_info",
            "Versions of the service, of what computes its scores, and of its API.",
            ["version", "vllm", "torch", "api"],
            registry=registry,
        )
        self._model = Gauge(
            "mmreward_model_info",
            "The model that is served.",
            ["model", "fingerprint", "kinds", "dtype"],
            registry=registry,
        )
        versions = (vllm_version() or "none", installed_version("torch") or "none")
        build.labels(__version__, *versions, str(API_VERSION)).set(1)

    def create_model(self, model: str, kinds: list[Kind], provenance: Mapping[str, Any]) -> None:
        dtype = str(provenance.get("dtype", "unknown"))
        fingerprint = str(provenance["fingerprint"])
        self._model.labels(model, fingerprint, ",".join(sorted(kinds)), dtype).set(1)
