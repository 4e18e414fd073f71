"""What a client waits for and what it gets, in a Prometheus registry of the caller's.

The service sees its own half: it cannot know of requests that never arrived, of pauses before a
retry, or of a balancer in between. docs/metrics.md lists the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from mmreward_client.events import CallAbandoned, CallDone, CallFailed, Event, RetryPlanned
from mmreward_client.hooks.causes import CAUSES, cause_of
from mmreward_client.schema import Status

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SCORING_PATHS = ("/v1/score", "/v1/pairs", "/v1/groups")
_SECONDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800),
)


class PrometheusHook:
    """An `on_event` hook that counts; one is enough for all clients of a process.

    Series of the scoring paths exist from the start, at 0. Thread-safe, as the registry is.

    Args:
        registry: where the metrics are kept; None takes prometheus_client's global one. To be
            served by whoever owns it, such as `prometheus_client.start_http_server(9000)`.

    Raises:
        ImportError: prometheus_client is not installed; it is no dependency of the client.
        ValueError: the registry has these metrics already, from another hook.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import REGISTRY, Counter, Gauge, Histogram
        except ImportError as error:
            raise ImportError(
                "PrometheusHook needs prometheus_client: pip install prometheus-client"
            ) from error
        registry = registry or REGISTRY

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"mmreward_client_{name}", meaning, labels, registry=registry)

        self._calls = counter("calls", "Calls by how they ended.", "path", "outcome")
        self._waited = counter("wait_seconds", "Pauses before another attempt.", "path")
        self._retries = counter(
            "retries", "Further attempts, by the kind of error before them.", "path", "cause"
        )
        self._items = counter("items", "Entries of replies by status.", "path", "status")
        self._nulls = counter(
            "nulls",
            "Numbers of replies that are null, by the status of their entry.",
            "path",
            "status",
        )
        self._seconds = Histogram(
            "mmreward_client_call_duration_seconds",
            "From the call to its end, pauses and all.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._self_praise = Gauge(
            "mmreward_client_self_praise_ratio",
            "Share of responses that praise themselves, as the training job reports it.",
            registry=registry,
        )
        self._self_praise.set(float("nan"))
        for path in _SCORING_PATHS:
            self._create(path)

    def __call__(self, event: Event) -> None:
        if isinstance(event, RetryPlanned):
            self._waited.labels(event.path).inc(event.wait_s)
            self._retries.labels(event.path, cause_of(event.error)).inc()
        elif isinstance(event, CallDone):
            self._ended(event, "ok")
            for status, count in event.statuses.items():
                self._items.labels(event.path, status).inc(count)
            for status, count in event.nulls_by_status.items():
                self._nulls.labels(event.path, status).inc(count)
        elif isinstance(event, CallFailed):
            self._ended(event, cause_of(event.error))
        elif isinstance(event, CallAbandoned):
            self._ended(event, "abandoned")

    def report_self_praise(self, ratio: float) -> None:
        """Share of a step's responses that praise themselves ("this is a perfect answer").

        What counts as such the training job knows, not the client. A share that grows while scores
        grow is a policy that learns to flatter its judge.

        Raises:
            ValueError: not between 0 and 1.
        """
        if not 0 <= ratio <= 1:
            raise ValueError(f"a share is between 0 and 1, this is {ratio}")
        self._self_praise.set(ratio)

    def _ended(self, event: CallDone | CallFailed | CallAbandoned, outcome: str) -> None:
        self._calls.labels(event.path, outcome).inc()
        self._seconds.labels(event.path).observe(event.seconds)

    def _create(self, path: str) -> None:
        self._seconds.labels(path)
        self._waited.labels(path)
        for outcome in ("ok", "abandoned", *CAUSES):
            self._calls.labels(path, outcome)
        for cause in CAUSES:
            self._retries.labels(path, cause)
        for status in get_args(Status):
            self._items.labels(path, status)
            self._nulls.labels(path, status)
