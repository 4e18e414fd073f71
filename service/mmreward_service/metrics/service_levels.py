"""What is promised of the service, and buckets that can tell whether it was kept.

A histogram knows no more of a request than its bucket. So the promised time is a boundary: then the
share of requests within it is a count and no guess.
"""

from __future__ import annotations

LATENCY_SLO_S = 30.0
"""A scoring request that took longer was slow, whatever it asked for."""

LATENCY_SLO_RATIO = 0.99
"""Share of scoring requests that are to be answered within LATENCY_SLO_S."""

AVAILABILITY_SLO_RATIO = 0.995
"""Share of scoring requests that are to end in any outcome but `error`."""

REQUEST_BUCKETS_S = (
    *(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 20.0, LATENCY_SLO_S, 60.0, 120.0, 300.0, 600.0),
)
"""A score without a critique takes milliseconds, a large group on a large model minutes."""

STAGE_BUCKETS_S = (0.0001, 0.0005, *REQUEST_BUCKETS_S)
