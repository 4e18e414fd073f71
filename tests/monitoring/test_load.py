"""The demo load: it asks for all that the dashboards show, and its own faults are not hidden."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from live import load
from mmreward_service.engine.fake import FakeEngine
from service_kit.threaded import running


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(FakeEngine()) as url:
        yield url


def page(address: str) -> dict[str, float]:
    with urllib.request.urlopen(address, timeout=30) as reply:
        lines = reply.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_everything_is_asked_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores, pairs and groups, a critique cut short, a wrong item; the trainer's page counts."""
    monkeypatch.setattr(load, "_REST_S", 0.0)
    end = time.monotonic() + 120
    items, requests = "mmreward_items_total", "mmreward_requests_total"
    statuses, routes = ("ok", "truncated", "invalid"), ("score", "pairs", "groups")
    wanted = [
        *(f'{items}{{model="fake",status="{status}"}}' for status in statuses),
        *(f'{requests}{{outcome="ok",route="/v1/{route}"}}' for route in routes),
    ]
    with load.loaded(url, callers=2) as trainer:
        while not all(page(f"{url}/metrics")[name] > 0 for name in wanted):
            assert time.monotonic() < end
            time.sleep(0.2)
        seen = page(f"http://{trainer}/metrics")
    assert seen['mmreward_client_calls_total{outcome="ok",path="/v1/groups"}'] > 0
    assert 0 <= seen["mmreward_client_self_praise_ratio"] <= 1


def test_a_fault_of_the_load_is_raised(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead callers would look like a quiet service."""

    def broken(*_: Any) -> None:
        raise TypeError("a wrong argument")

    monkeypatch.setattr(load, "_scores", broken)
    with pytest.raises(TypeError, match="a wrong argument"), load.loaded(url, callers=1):
        time.sleep(0.1)
