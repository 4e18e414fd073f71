"""PromQL for panels, put together from few pieces, so that all panels ask in the same way.

Counters and histograms are always asked as rates over `$__rate_interval`, which Grafana derives
from the data source's scrape interval; sums come before quotients; a quotient is left out where
nothing was counted, because 0 / 0 is NaN and a missing line says "no traffic" more honestly.
"""

from __future__ import annotations

SERVICE = 'job=~"$job",instance=~"$instance"'
MODEL = SERVICE + ',model=~"$model"'
ENGINE = SERVICE + ',model_name=~"$model"'
TRAINER = 'job=~"$trainer"'
SCORING = SERVICE + ',route=~"/v1/score|/v1/pairs|/v1/groups|/get_reward"'
"""Routes that score. Probes answer in a millisecond and would hide a slow service."""


def rate(metric: str, labels: str = SERVICE, by: str = "") -> str:
    """Events per second of a counter, summed over what `by` does not name."""
    return f"sum{_by(by)}(rate({metric}{{{labels}}}[$__rate_interval]))"


def share(part: str, whole: str) -> str:
    """A quotient of two sums with the same labels, where there is a whole at all."""
    return f"{part} / ({whole} > 0)"


def mean(histogram: str, labels: str = SERVICE, by: str = "") -> str:
    """Mean of what a histogram observed."""
    return share(rate(f"{histogram}_sum", labels, by), rate(f"{histogram}_count", labels, by))


def signed_mean(name: str, by: str = "model,kind") -> str:
    """Mean of a distribution with values below zero, whose histogram has buckets alone."""
    positive, negative = (
        rate(f"{name}_magnitude_total", f'{MODEL},sign="{sign}"', by)
        for sign in ("positive", "negative")
    )
    return share(f"({positive} - {negative})", rate(f"{name}_bucket", f'{MODEL},le="+Inf"', by))


def quantile(q: float, histogram: str, labels: str = SERVICE, by: str = "") -> str:
    """A quantile over all replicas: of summed buckets, never of quantiles."""
    le_and = f"le,{by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', labels, le_and)})"


def buckets(histogram: str, labels: str = SERVICE) -> str:
    """How many observations fell into each bucket, for a heat map."""
    return f"sum by (le)(increase({histogram}_bucket{{{labels}}}[$__rate_interval]))"


def total(gauge: str, labels: str = SERVICE, by: str = "") -> str:
    return f"sum{_by(by)}({gauge}{{{labels}}})"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
