"""The page of /metrics in both formats, with the metrics of others on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.metrics import Metrics
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families
from service_kit import serving

OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def foreign() -> Iterator[None]:
    """Metrics on the global registry, shaped like vLLM's; the real ones may be there, too."""
    running = Counter("vllm:requests_of_a_test", "Finished.", ["finished_reason"])
    running.labels("length").inc(3)
    seconds = Histogram("vllm:latency_of_a_test_seconds", "Whole.", buckets=(0.3, 7680))
    seconds.observe(1)
    yield
    for one in (running, seconds):
        REGISTRY.unregister(one)


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("escaping", ["", ";escaping=underscores", ";escaping=allow-utf-8"])
async def test_both_formats_hold_the_same_and_end_once(
    client: httpx2.AsyncClient, item: dict[str, Any], escaping: str
) -> None:
    """Each parses, ours and the engine's are on it, and OpenMetrics has one `# EOF`, at the end."""
    await client.post("/v1/score", json={"items": [item]})
    plain = await client.get("/metrics")
    opened = await client.get("/metrics", headers={"Accept": OPEN.replace(",", escaping + ",")})
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.count("# EOF") == 1
    assert opened.text.endswith("# EOF\n")
    assert "# EOF" not in plain.text
    names = [
        {sample.name for family in families(text) for sample in family.samples}
        for families, text in ((plain_families, plain.text), (open_families, opened.text))
    ]
    assert names[0] == names[1]
    assert not any(name.endswith("_created") for name in names[0])
    assert {"vllm:requests_of_a_test_total", "mmreward_items_total", "mmreward_ready"} <= names[0]
    assert "vllm:latency_of_a_test_seconds_bucket" in names[0]


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html", "application/openmetrics-text;version=no", ";;,=", "\xe9"]
)
async def test_any_accept_header_gets_a_page(client: httpx2.AsyncClient, accept: str) -> None:
    """Whatever a browser or a scanner sends, the page can be read."""
    reply = await client.get("/metrics", headers={"Accept": accept.encode("latin-1")})
    assert reply.status_code == 200
    assert list(plain_families(reply.text))


def test_slow_and_failed_requests_carry_their_id_and_no_others() -> None:
    """An exemplar leads from a bucket to a line of the log; a good request needs none."""
    metrics = Metrics(1)
    long_id = "x" * 128
    for number, (outcome, seconds) in enumerate(
        [("ok", 0.01), ("ok", 31.0), ("error", 0.02), ("deadline", 2.0), ("invalid", 0.2)]
    ):
        metrics.traffic.request("/v1/score", outcome, seconds, f"id-{number}")  # type: ignore[arg-type]
    metrics.traffic.request("/v1/pairs", "error", 1.0, long_id)
    page, _ = metrics.page(OPEN)
    found = {
        (sample.name.rsplit("_", 1)[1], sample.exemplar.labels["request_id"])
        for family in open_families(page.decode())
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert {one for one in found if one[1].startswith("id")} == {
        ("bucket", "id-1"),
        ("bucket", "id-2"),
        ("bucket", "id-3"),
        ("total", "id-1"),
        ("total", "id-2"),
        ("total", "id-3"),
    }
    assert ("total", long_id[:118]) in found
    assert b"request_id" not in metrics.page("text/plain")[0]


async def test_a_failed_request_is_found_by_the_id_that_the_caller_chose() -> None:
    """Through the whole app: the id of the reply is the one on the page."""
    async with serving(FakeEngine(start_s=30), wait=False) as client:
        reply = await client.post(
            "/v1/score", json={"items": [1]}, headers={"X-Request-Id": "step-17"}
        )
        assert reply.status_code == 503
        page = (await client.get("/metrics", headers={"Accept": OPEN})).text
    assert 'request_id="step-17"' in page


def test_a_distribution_with_negative_values_has_no_sum() -> None:
    """A sum that can fall is a restart to `rate`; the two sums by sign only grow."""
    metrics = Metrics(1)
    metrics.create_model("m", ["critique"], {"fingerprint": "f"})
    for score in (-2.0, 1.5, -0.25, 0.0):
        metrics.quality.score("critique", score)
    text = metrics.page()[0].decode()
    assert "mmreward_score_sum" not in text
    assert "mmreward_score_count" not in text
    for series, value in (
        ('magnitude_total{kind="critique",model="m",sign="negative"}', 2.25),
        ('magnitude_total{kind="critique",model="m",sign="positive"}', 1.5),
        ('bucket{kind="critique",le="0.0",model="m"}', 3.0),
        ('bucket{kind="critique",le="+Inf",model="m"}', 4.0),
    ):
        assert f"mmreward_score_{series} {value}\n" in text
