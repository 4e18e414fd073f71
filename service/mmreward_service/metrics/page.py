"""The page that Prometheus reads: our metrics and all others of this process, in either format.

vLLM registers its own on Prometheus's global registry. Ours live on a registry of their own, so
that two apps in one process do not collide. They are encoded as one: OpenMetrics ends a page with
`# EOF`, and two pages one after the other would be none. When each series began is left out: it
would double the page, and Prometheus takes a counter's first value for its beginning anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector


class _Both(Collector):
    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own

    def collect(self) -> Iterable[Metric]:
        for metric in chain(self._own.collect(), REGISTRY.collect()):
            created = f"{metric.name}_created"
            metric.samples = [one for one in metric.samples if one.name != created]
            yield metric


def render(own: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The page and its content type, in the best format that an Accept header asks for."""
    both = _Both(own)
    if not _asks_for_open_metrics(accept):
        return generate_latest(both), CONTENT_TYPE_PLAIN_0_0_4
    # By default, and where the header says `escaping=underscores`, the library (0.23 to 0.26)
    # writes samples of `vllm:name` as `vllm_name` under a TYPE of `vllm:name`. A colon needs no
    # escaping in any scheme, and no name here has anything else that does.
    page: bytes = openmetrics.generate_latest(both, escaping=openmetrics.ALLOWUTF8)  # type: ignore[no-untyped-call]
    return page, CONTENT_TYPE_LATEST


def _asks_for_open_metrics(accept: str) -> bool:
    # The library compares a version that is none with numbers. The plain format suits everybody.
    with suppress(TypeError, ValueError):
        return choose_encoder(accept)[1].startswith("application/openmetrics-text")
    return False
