"""What a page of metrics says, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(client: httpx2.AsyncClient) -> Samples:
    """Value by name and sorted labels, of the plain format."""
    reply = await client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def value_in(there: Samples) -> Callable[..., float]:
    """Looks up a sample by its name and labels."""

    def value(name: str, **labels: str) -> float:
        return there[name, tuple(sorted(labels.items()))]

    return value


def gain(before: Samples, after: Samples) -> Callable[..., float]:
    """How much a sample has grown between two pages."""

    def gained(name: str, **labels: str) -> float:
        return value_in(after)(name, **labels) - value_in(before)(name, **labels)

    return gained
