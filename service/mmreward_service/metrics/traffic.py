"""Requests: how many, how they ended, how long they and their stages took, and whose they were."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from mmreward_service.metrics.service_levels import (
    LATENCY_SLO_S,
    REQUEST_BUCKETS_S,
    STAGE_BUCKETS_S,
)
from mmreward_service.timings import STAGES, Stopwatch

Outcome = Literal["ok", "invalid", "overloaded", "deadline", "cancelled", "error"]

NO_KEY = "none"
"""The label of whoever showed no valid key, and of everybody where none is configured."""

_FAILED: frozenset[Outcome] = frozenset({"deadline", "error"})
_EXEMPLAR_ID = 118
"""OpenMetrics allows an exemplar 128 characters; ten are its label `request_id`."""


class Traffic:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "mmreward_requests",
            "Requests by route template and outcome.",
            ["route", "outcome"],
            registry=registry,
        )
        self._request_duration = Histogram(
            "mmreward_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its reply.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self._key_requests = Counter(
            "mmreward_key_requests",
            "Requests to routes behind a key, by the name or position of the key.",
            ["key", "outcome"],
            registry=registry,
        )
        stage_duration = Histogram(
            "mmreward_stage_duration_seconds",
            "Longest time any item of a scoring request spent in a stage.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._stage = {stage: stage_duration.labels(stage) for stage in STAGES}

    def create_routes(self, routes: Iterable[str]) -> None:
        for route in routes:
            self._request_duration.labels(route)
            for outcome in get_args(Outcome):
                self._requests.labels(route, outcome)

    def create_keys(self, names: Iterable[str]) -> None:
        for name in (NO_KEY, *names):
            for outcome in get_args(Outcome):
                self._key_requests.labels(name, outcome)

    def request(
        self, route: str, outcome: Outcome, seconds: float, request_id: str, key: str | None = None
    ) -> None:
        """A request has ended; `key` is None where the route asks for none.

        The id of a slow or failed one goes along as an exemplar, to find its line in the log.
        """
        exemplar: dict[str, str] | None = None
        if outcome in _FAILED or seconds > LATENCY_SLO_S:
            exemplar = {"request_id": request_id[:_EXEMPLAR_ID]}
        self._requests.labels(route, outcome).inc(1, exemplar)
        self._request_duration.labels(route).observe(seconds, exemplar)
        if key is not None:
            self._key_requests.labels(key, outcome).inc()

    def stages(self, stopwatch: Stopwatch) -> None:
        for stage, seconds in stopwatch.longest_s.items():
            self._stage[stage].observe(seconds)
