"""The distribution of a number that may be negative.

A histogram has no sum once it has buckets below zero (the client library leaves it out, OpenMetrics
forbids it): a sum that falls would look to `rate` like a restart. So the magnitudes are summed by
sign, two counters that only grow, and the mean is the difference of their rates over that of the
count. OpenMetrics allows no `_count` without `_sum` either, where the client library writes one: it
is left out here, of both formats, so that a query holds for either. The bucket `+Inf` is the count.
"""

from __future__ import annotations

from collections.abc import Iterable

from mmreward_client.schema import Kind
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric


class _BucketsAlone(Histogram):
    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [one for one in metric.samples if one.name == f"{metric.name}_bucket"]
            yield metric


class SignedDistribution:
    """A histogram and its sums by sign, for each kind of a model.

    Args:
        name: metric name; the sums are `{name}_magnitude_total`.
        upper_bounds: above zero; they are mirrored, and zero is put between them.
    """

    def __init__(
        self, name: str, meaning: str, upper_bounds: Iterable[float], registry: CollectorRegistry
    ) -> None:
        above = sorted(upper_bounds)
        self._histogram = _BucketsAlone(
            name,
            f"{meaning}.",
            ["model", "kind"],
            buckets=[-bound for bound in reversed(above)] + [0.0, *above],
            registry=registry,
        )
        self._magnitude = Counter(
            f"{name}_magnitude",
            f"{meaning}: sum of the absolute values, by sign.",
            ["model", "kind", "sign"],
            registry=registry,
        )
        self._of_kind: dict[Kind, tuple[Histogram, Counter, Counter]] = {}

    def create(self, model: str, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            self._of_kind[kind] = (
                self._histogram.labels(model, kind),
                self._magnitude.labels(model, kind, "positive"),
                self._magnitude.labels(model, kind, "negative"),
            )

    def observe(self, kind: Kind, value: float) -> None:
        histogram, positive, negative = self._of_kind[kind]
        histogram.observe(value)
        (positive if value >= 0 else negative).inc(abs(value))
