"""Service: are requests answered, how fast, how full is it, and who asks."""

from __future__ import annotations

from mmreward_service.metrics.service_levels import LATENCY_SLO_S

from boards.board import Board, Row
from boards.panel import heat_map, lines, stat, table
from boards.query import MODEL, SCORING, SERVICE, mean, quantile, rate, share, total

_REQUESTS = "mmreward_requests_total"
_DURATION = "mmreward_request_duration_seconds"
_STAGE = "mmreward_stage_duration_seconds"
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def _outcome(pattern: str) -> str:
    return share(rate(_REQUESTS, f'{SCORING},outcome=~"{pattern}"'), rate(_REQUESTS, SCORING))


def _in_time(bound_s: float) -> str:
    """Share of scoring requests answered within a bound, as it is written in `le`."""
    fast = rate(f"{_DURATION}_bucket", f'{SCORING},le="{bound_s}"')
    return share(fast, rate(f"{_DURATION}_count", SCORING))


_NOW = Row(
    "Now",
    [
        stat(
            "Requests",
            "Scoring requests per second, whatever came of them.",
            "reqps",
            rate(_REQUESTS, SCORING),
        ),
        stat(
            "Errors",
            "Share of scoring requests that failed through a fault of the service.",
            "percentunit",
            _outcome("error"),
        ),
        stat(
            "p95",
            "Time within which 95 of 100 scoring requests are answered.",
            "s",
            quantile(0.95, _DURATION, SCORING),
        ),
        stat(
            "Unreachable",
            "Replicas that Prometheus cannot reach.",
            "none",
            'count(up{job=~"$job"} == 0) or vector(0)',
        ),
        stat(
            "Ready",
            "Replicas that give scores now.",
            "none",
            total("mmreward_ready"),
        ),
        stat(
            "Permits in use",
            "Critiques in flight as a share of those that are admitted.",
            "percentunit",
            share(total("mmreward_critiques_in_flight"), total("mmreward_admission_limit")),
        ),
    ],
)

_TRAFFIC = Row(
    "Requests",
    [
        lines(
            "Requests by route",
            "Scoring requests per second by route.",
            "reqps",
            {"{{route}}": rate(_REQUESTS, SCORING, "route")},
            stacked=True,
        ),
        lines(
            "Requests by outcome",
            "Scoring requests per second by what came of them.",
            "reqps",
            {"{{outcome}}": rate(_REQUESTS, SCORING, "outcome")},
            stacked=True,
        ),
        lines(
            "Share that failed",
            "Share of scoring requests that were turned away, too late, or met a fault.",
            "percentunit",
            {name: _outcome(name) for name in ("overloaded", "deadline", "error")},
        ),
    ],
)

_LATENCY = Row(
    "Latency",
    [
        lines(
            "Percentiles",
            "Time from the first byte of a scoring request to the last byte of its reply.",
            "s",
            {name: quantile(q, _DURATION, SCORING) for name, q in _PERCENTILES.items()},
            width=6,
            exemplars=True,
        ),
        heat_map(
            "Durations",
            "How many scoring requests took how long.",
            "s",
            f"sum by (le)(increase({_DURATION}_bucket{{{SCORING}}}[$__rate_interval]))",
            width=6,
        ),
        lines(
            "p95 by route",
            "Time within which 95 of 100 requests of a route are answered.",
            "s",
            {"{{route}}": quantile(0.95, _DURATION, SCORING, "route")},
            width=6,
        ),
        lines(
            "In time",
            "Share of scoring requests answered within 30 s, which the latency budget is about.",
            "percentunit",
            {"within 30 s": _in_time(LATENCY_SLO_S)},
            width=6,
            maximum=1,
        ),
    ],
)

_SATURATION = Row(
    "Saturation",
    [
        lines(
            "Critiques",
            "Critiques admitted, those of them still waiting for their turn, and the limit.",
            "short",
            {
                "in flight": total("mmreward_critiques_in_flight"),
                "waiting": total("mmreward_critiques_waiting"),
                "limit": total("mmreward_admission_limit"),
            },
            width=6,
        ),
        lines(
            "Requests in flight",
            "Scoring requests that were admitted and are not answered yet, by replica.",
            "short",
            {"{{instance}}": total("mmreward_requests_in_flight", by="instance")},
            width=6,
        ),
        lines(
            "Oldest request",
            "Age of the oldest scoring request in flight, by replica.",
            "s",
            {
                "{{instance}}": f"max by (instance)"
                f"(mmreward_oldest_request_age_seconds{{{SERVICE}}})"
            },
            width=6,
        ),
        lines(
            "Silence of the engine",
            "How long the engine has had questions without a sign of work, by replica.",
            "s",
            {"{{instance}}": f"max by (instance)(mmreward_engine_silence_seconds{{{SERVICE}}})"},
            width=6,
        ),
    ],
)

_STAGES = Row(
    "Stages and pictures",
    [
        lines(
            "Mean time by stage",
            "Longest time any item of a request spent in a stage, mean over requests.",
            "s",
            {"{{stage}}": mean(_STAGE, by="stage")},
            stacked=True,
            width=6,
        ),
        lines(
            "p95 by stage",
            "The same as a 95th percentile.",
            "s",
            {"{{stage}}": quantile(0.95, _STAGE, by="stage")},
            width=6,
        ),
        lines(
            "Size of pictures",
            "Encoded size of the pictures that were decoded.",
            "bytes",
            {name: quantile(q, "mmreward_image_bytes") for name, q in _PERCENTILES.items()},
            width=6,
        ),
        lines(
            "Pixels of pictures",
            "Width times height of the pictures that were decoded.",
            "short",
            {name: quantile(q, "mmreward_image_pixels") for name, q in _PERCENTILES.items()},
            width=6,
        ),
    ],
)

_CALLERS = Row(
    "Callers and builds",
    [
        lines(
            "Requests by key",
            "Requests per second to routes behind a key, by the key's name or position.",
            "reqps",
            {"{{key}}": rate("mmreward_key_requests_total", by="key")},
            stacked=True,
            width=6,
        ),
        lines(
            "Share of a key turned away",
            "Share of a key's requests that met a full service.",
            "percentunit",
            {
                "{{key}}": share(
                    rate(
                        "mmreward_key_requests_total",
                        f'{SERVICE},outcome="overloaded"',
                        "key",
                    ),
                    rate("mmreward_key_requests_total", by="key"),
                )
            },
            width=6,
        ),
        table(
            "Builds",
            "What runs on each replica: versions of the service, of vLLM, of torch and of the API.",
            f"mmreward_build_info{{{SERVICE}}}",
            width=6,
        ),
        table(
            "Models",
            "What each replica serves: fingerprint, kinds and dtype.",
            f"mmreward_model_info{{{MODEL}}}",
            width=6,
        ),
    ],
)

BOARD = Board(
    uid="mmreward-service",
    title="mmreward: service",
    description="Requests, latency, saturation, stages and callers of the scoring service.",
    rows=[_NOW, _TRAFFIC, _LATENCY, _SATURATION, _STAGES, _CALLERS],
)
