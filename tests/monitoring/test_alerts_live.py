"""Alerts of a real Prometheus over real services: each fires when its fault is caused, and alone.

Time runs 120 times faster: the rules are rendered on a scale on which an hour is half a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from alerting import rule_files
from faults import Service, services, serving
from live.prometheus import Prometheus, running

SCALE = 1 / 120
SCRAPE_S = 0.5
PATIENCE_S = 120.0
LATE_S = 30 * SCALE
Fired = dict[str, set[str]]


async def watch(
    folder: Path, chosen: Sequence[Service], is_over: Callable[[Fired, float], bool]
) -> Fired:
    """Names of the alerts that fired, by job, until it is over."""
    for name, text in rule_files(SCALE).items():
        (folder / name).write_text(text)
    async with contextlib.AsyncExitStack() as stack:
        for one in chosen:
            await stack.enter_async_context(serving(one))
        targets = {one.job: one.address for one in chosen}
        rules = [folder / name for name in rule_files(SCALE)]
        prometheus = stack.enter_context(
            running(folder / "prometheus", targets, rules=rules, interval_s=SCRAPE_S)
        )
        began = time.monotonic()
        fired: Fired = {"": set()} | {one.job: set() for one in chosen}
        # Before the first scrape nothing is up: half a second of that is a minute on this scale.
        await asyncio.sleep(6 * SCRAPE_S)
        while not is_over(fired, time.monotonic() - began):
            for alert in await asyncio.to_thread(Prometheus.alerts, prometheus):
                if alert["state"] == "firing":
                    fired[alert["labels"].get("job", "")].add(alert["labels"]["alertname"])
            await asyncio.sleep(SCRAPE_S)
        return fired


def allowed(one: Service) -> frozenset[str]:
    """A machine too busy to answer in a quarter of a second is truly slow: that alert is right."""
    late = sum(duration > LATE_S for duration in one.durations_s)
    is_slow = late > 0.01 * len(one.durations_s)
    return one.raises | ({"RewardLatencyBudgetBurn"} if is_slow else frozenset())


@pytest.fixture(scope="module")
def outcome(
    tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Service], Fired]:
    tool("prometheus")
    chosen = services()
    least_s = 40.0  # for what should stay silent to have had the time to speak

    def is_over(fired: Fired, seconds: float) -> bool:
        missing = any(one.raises - fired[one.job] for one in chosen)
        return seconds > (PATIENCE_S if missing else least_s)

    return chosen, asyncio.run(watch(tmp_path_factory.mktemp("alerts"), chosen, is_over))


@pytest.mark.slow
@pytest.mark.parametrize("job", [one.job for one in services()])
def test_the_fault_raises_its_alerts_and_no_other(
    job: str, outcome: tuple[list[Service], Fired]
) -> None:
    """What was caused is what is said; beside the normal load nothing is said at all."""
    chosen, fired = outcome
    (one,) = (one for one in chosen if one.job == job)
    assert one.raises <= fired[job]
    assert fired[job] <= allowed(one)
    assert fired[""] == set()


def test_every_alert_is_caused_once() -> None:
    """All but the one that needs a GPU."""
    from alerting.alerts import alert_rules
    from alerting.clock import Clock

    names = {rule["alert"] for group in alert_rules(Clock(), "").values() for rule in group}
    caused = frozenset[str]().union(*(one.raises for one in services()))
    assert names - caused == {"RewardGpuXid"}


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_minutes_of_normal_load_are_silent(tool: Callable[[str], Path], tmp_path: Path) -> None:
    """Twenty hours on the scale of the rules."""
    tool("prometheus")
    chosen = [one for one in services() if one.job == "mmreward-normal"]
    fired = asyncio.run(watch(tmp_path, chosen, lambda _, seconds: seconds > 600))
    assert fired["mmreward-normal"] <= allowed(chosen[0])
