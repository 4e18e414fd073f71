"""Every metric of the service, defined once. No logic: callers say what happened.

vLLM registers its own `vllm:*` metrics on Prometheus's global registry. Ours live on a registry of
their own, so that two apps in one process do not collide; the page shows both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from mmreward_client.schema import Status
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from mmreward_service.timings import STAGES, Stopwatch

Outcome = Literal["ok", "invalid", "overloaded", "deadline", "cancelled", "error"]

# A critique of a big model takes tens of seconds, a score without one a few milliseconds.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The metrics of one app. Children are created up front, so that every series starts at 0."""

    def __init__(self, admission_limit: int) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mmreward_requests",
            "Requests by route template and outcome.",
            ["route", "outcome"],
            registry=self.registry,
        )
        self.request_duration = Histogram(
            "mmreward_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its reply.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_duration = Histogram(
            "mmreward_stage_duration_seconds",
            "Longest time any item of a scoring request spent in a stage.",
            ["stage"],
            buckets=(0.0005, 0.001, 0.0025, *_SECONDS),
            registry=self.registry,
        )
        self.items = Counter(
            "mmreward_items",
            "Items by model and status.",
            ["model", "status"],
            registry=self.registry,
        )
        self.comparisons = Counter(
            "mmreward_comparisons",
            "Comparisons of two responses by model and status.",
            ["model", "status"],
            registry=self.registry,
        )
        self.preference_swaps = Counter(
            "mmreward_preference_swap",
            "Pairs judged in both orders: did both name the same winner?",
            ["consistent"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "mmreward_critiques_in_flight",
            "Critiques being written or read.",
            registry=self.registry,
        )
        limit = Gauge(
            "mmreward_admission_limit",
            "Critiques that may be in flight before requests are turned away.",
            registry=self.registry,
        )
        self.ready = Gauge("mmreward_ready", "1 while scores can be had.", registry=self.registry)
        self.parity_error = Gauge(
            "mmreward_parity_error",
            "Largest difference to the checkpoint's golden scores at start; NaN before the check.",
            registry=self.registry,
        )
        limit.set(admission_limit)
        self.parity_error.set(float("nan"))
        for stage in STAGES:
            self.stage_duration.labels(stage)
        for consistent in ("true", "false"):
            self.preference_swaps.labels(consistent)

    def create_routes(self, routes: Iterable[str]) -> None:
        for route in routes:
            self.request_duration.labels(route)
            for outcome in get_args(Outcome):
                self.requests.labels(route, outcome)

    def create_model(self, model: str) -> None:
        for status in get_args(Status):
            self.items.labels(model, status)
            self.comparisons.labels(model, status)

    def observe_request(self, route: str, outcome: Outcome, seconds: float) -> None:
        self.requests.labels(route, outcome).inc()
        self.request_duration.labels(route).observe(seconds)

    def observe_comparison(self, model: str, status: Status) -> None:
        self.comparisons.labels(model, status).inc()

    def observe_orders(self, agree: Iterable[bool]) -> None:
        for one in agree:
            self.preference_swaps.labels("true" if one else "false").inc()

    def observe_stages(self, stopwatch: Stopwatch) -> None:
        for stage, seconds in stopwatch.longest_s.items():
            self.stage_duration.labels(stage).observe(seconds)

    def page(self) -> bytes:
        """Ours, then what else this process exports, vLLM's metrics among it."""
        return generate_latest(self.registry) + generate_latest(REGISTRY)
