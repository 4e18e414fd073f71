"""The client's calls in a Prometheus registry of the caller's."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mmreward_client import (
    ApiError,
    Overloaded,
    PinMismatch,
    RetryPolicy,
    RewardError,
    TransportError,
    errors,
)
from mmreward_client.hooks import PrometheusHook
from mmreward_client.hooks.causes import CAUSES, cause_of
from mmreward_client.testing import Fault
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def hook(registry):
    return PrometheusHook(registry)


def test_a_call_with_nulls_after_retries(local, make_client, registry, hook):
    """Attempts, pauses, entries and nulls are those that the caller met."""
    local.script(
        Fault("overloaded", retry_after_s=None), Fault("drop"), Fault("null", status="unparsed")
    )
    make_client(local.url, retries=QUICK, on_event=hook).score(ITEMS)
    value = registry.get_sample_value
    path = {"path": "/v1/score"}
    assert value("mmreward_client_calls_total", {**path, "outcome": "ok"}) == 1
    assert value("mmreward_client_retries_total", {**path, "cause": "overloaded"}) == 1
    assert value("mmreward_client_retries_total", {**path, "cause": "transport"}) == 1
    assert value("mmreward_client_retries_total", {**path, "cause": "deadline"}) == 0
    assert 0 <= value("mmreward_client_wait_seconds_total", path) <= 0.002
    assert value("mmreward_client_call_duration_seconds_count", path) == 1
    assert value("mmreward_client_items_total", {**path, "status": "unparsed"}) == 3
    assert value("mmreward_client_nulls_total", {**path, "status": "unparsed"}) == 3
    assert value("mmreward_client_items_total", {**path, "status": "ok"}) == 0


def test_how_calls_end(local, make_client, registry, hook):
    """By the class of the error; a call that was left has an outcome of its own."""
    client = make_client(local.url, retries=0, on_event=hook, pin="other")
    with pytest.raises(PinMismatch):
        client.score(ITEMS)
    local.script(Fault("overloaded", retry_after_s=None))
    with pytest.raises(Overloaded):
        make_client(local.url, retries=0, on_event=hook).pairs(
            [{"prompt": "q", "chosen": "a", "rejected": "b"}]
        )
    value = registry.get_sample_value
    name = "mmreward_client_calls_total"
    assert value(name, {"path": "/v1/score", "outcome": "pin_mismatch"}) == 1
    assert value(name, {"path": "/v1/pairs", "outcome": "overloaded"}) == 1
    assert value(name, {"path": "/v1/pairs", "outcome": "ok"}) == 0
    assert value(name, {"path": "/v1/groups", "outcome": "abandoned"}) == 0


def test_every_error_has_a_cause_of_the_list():
    """A class that is added later gets the name of its nearest relative, none invents a label."""
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, RewardError)
    }
    named = {cause_of(kind("x")) for kind in kinds}
    assert named == set(CAUSES)

    class Later(TransportError): ...

    assert cause_of(Later("x")) == "transport"
    assert cause_of(ApiError("x")) == "other"


def test_the_table_of_the_page_is_the_metrics(registry, hook):
    """docs/metrics.md and the registry name the same metrics, types and labels."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    part = page.split("\n## The client\n", 1)[1].split("\n## ", 1)[0]
    told = set()
    for line in part.splitlines():
        if line.startswith("| `"):
            name, kind, labels, _ = (cell.strip(" `") for cell in line.strip("|").split("|"))
            told.add((name, kind, frozenset(labels.split(", ")) - {""}))
    there = set()
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        if family.name.endswith("_created"):
            continue
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        suffix = "_total" if family.type == "counter" else ""
        there.add((family.name + suffix, family.type, frozenset(labels)))
    assert told == there


def test_self_praise_is_the_caller_s_to_say(registry, hook):
    """Unknown until it is reported; a share and nothing else."""
    value = registry.get_sample_value("mmreward_client_self_praise_ratio")
    assert value != value
    hook.report_self_praise(0.25)
    assert registry.get_sample_value("mmreward_client_self_praise_ratio") == 0.25
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            hook.report_self_praise(wrong)


def test_without_prometheus_the_hook_says_what_to_install():
    """The package is no dependency: importing the hooks is fine, making one is refused clearly."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from mmreward_client.hooks import PrometheusHook, StepLog\n"
        "StepLog()\n"
        "try: PrometheusHook()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install prometheus-client" in done.stdout
