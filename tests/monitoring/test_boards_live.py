"""Every panel's question, answered by a real Prometheus that scrapes the real service under load.

The service is `mmreward-serve` with the bundled model, so that vLLM's own series are there; the
load is that of `make monitoring`, with its trainer's page. A question must have a series with a
finite value, or the panel a reason why it has none here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alerting import rule_files
from boards import BOARDS
from boards.panel import Panel
from live.asking import answers
from live.prometheus import Prometheus, running
from service_kit.real import DIGITS, real_service

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

SCALE = 1 / 600
"""Half an hour is three seconds: the drift of scores has a past to compare with."""
SCRAPE_S = 1.0
LOAD_S = 12.0
PANELS = [
    pytest.param(panel, id=f"{board.uid}-{number}-{panel.title}")
    for board in BOARDS
    for number, panel in enumerate(board.panels)
]


@pytest.fixture(scope="module")
def prometheus(
    tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """After enough load; a busy machine gets more time, until pairs and groups were answered."""
    tool("prometheus")
    from live.load import loaded

    folder = tmp_path_factory.mktemp("boards")
    rules = []
    for name, text in rule_files(SCALE).items():
        rules.append(folder / name)
        rules[-1].write_text(text)
    checkpoint = DIGITS.parent / "digits-judge"
    with (
        real_service(checkpoint, folder / "service.log") as client,
        loaded(str(client.base_url)) as trainer,
    ):
        address = f"127.0.0.1:{client.base_url.port}"
        targets = {"mmreward": address, "trainer": trainer}
        with running(folder / "prometheus", targets, rules=rules, interval_s=SCRAPE_S) as server:
            began = time.monotonic()
            done = "sum(mmreward_items_total) > 200 and sum(mmreward_comparisons_total) > 50"
            while not (time.monotonic() - began > LOAD_S and server.series(done)):
                assert time.monotonic() - began < 600, "the service answers too little"
                time.sleep(0.5)
            yield server


@pytest.mark.parametrize("panel", PANELS)
def test_the_question_is_answered(panel: Panel, prometheus: Prometheus) -> None:
    """By at least one series with a finite value, each question of the panel for itself."""
    rendered = panel.render(1, {})
    for answer in answers(prometheus, rendered, seconds=LOAD_S, step_s=SCRAPE_S, rate_window="6s"):
        if not answer.series and panel.empty_because:
            pytest.skip(panel.empty_because)
        values = [
            float(value)
            for series in answer.series
            for _, value in series.get("values", [series.get("value")])
        ]
        assert any(math.isfinite(value) for value in values), f"{answer.legend}: no value"


def test_all_targets_are_scraped(prometheus: Prometheus) -> None:
    """The service's page and the trainer's are whole in the eyes of Prometheus."""
    assert prometheus.targets() == {"mmreward": "up", "trainer": "up"}


def test_the_page_is_well_formed(prometheus: Prometheus, promtool: Callable[..., object]) -> None:
    """promtool finds nothing to complain of in our own metrics; vLLM's names hold colons."""
    import urllib.request

    (up,) = prometheus.series('up{job="mmreward"}')
    address = f"http://{up['metric']['instance']}/metrics"
    with urllib.request.urlopen(address, timeout=30) as reply:
        page = reply.read().decode()
    ours = "".join(
        line + "\n" for line in page.splitlines() if "mmreward_" in line and "vllm:" not in line
    )
    answer = promtool("check", "metrics", stdin=ours)
    assert answer.returncode == 0, answer.stdout + answer.stderr  # type: ignore[attr-defined]
