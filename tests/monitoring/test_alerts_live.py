"""Alerts of a real Prometheus over real services: each fires when its fault is caused, and alone.

Time runs 120 times faster: the rules are rendered on a scale on which an hour is half a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from alerting import rule_files
from faults import Service, services, serving
from live.prometheus import Prometheus, running

SCALE = 1 / 120
SCRAPE_S = 1.0
PATIENCE_S = 240.0
LATE_S = 30 * SCALE
Fired = dict[str, set[str]]
"""Names of the alerts that fired, by job."""


@dataclass
class Watched:
    """What Prometheus said of these services, and how well the machine kept up."""

    services: Sequence[Service]
    fired: Fired = field(default_factory=dict)
    exemplars: list[dict[str, Any]] = field(default_factory=list)
    longest_pause_s: float = 0.0

    async def feel(self) -> None:
        """How long this process was kept from doing anything, at worst."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.longest_pause_s = max(self.longest_pause_s, time.monotonic() - before)

    def allowed(self, one: Service) -> set[str]:
        """What was caused, and on a machine that is too busy what is true of any service on it.

        Requests that took a quarter of a second were late, and a process that could not run for
        half a second did not answer for a minute, on this scale.
        """
        alerts = set(one.raises | one.may_raise)
        late = sum(duration > LATE_S for duration in one.durations_s)
        if late > 0.01 * len(one.durations_s):
            alerts.add("RewardLatencyBudgetBurn")
        if self.longest_pause_s > SCRAPE_S / 2:
            alerts |= {"RewardServiceDown", "RewardEngineStalled"}
        return alerts


async def ask_for_alerts(prometheus: Prometheus) -> list[dict[str, Any]]:
    return await asyncio.to_thread(prometheus.alerts)


async def watch(
    folder: Path, chosen: Sequence[Service], is_over: Callable[[Fired, float], bool]
) -> Watched:
    """Services, their traffic and Prometheus, until it is over."""
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
        watched = Watched(chosen, {"": set()} | {one.job: set() for one in chosen})
        feeling = asyncio.create_task(watched.feel())
        stack.callback(feeling.cancel)
        began = time.monotonic()
        # Before the first scrape nothing is up: half a second of that is a minute on this scale.
        await asyncio.sleep(2 * SCRAPE_S)
        while any("job" not in alert["labels"] for alert in await ask_for_alerts(prometheus)):  # noqa: ASYNC110
            await asyncio.sleep(SCRAPE_S)
        while not is_over(watched.fired, time.monotonic() - began):
            for alert in await ask_for_alerts(prometheus):
                if alert["state"] == "firing":
                    job = alert["labels"].get("job", "")
                    watched.fired[job].add(alert["labels"]["alertname"])
            await asyncio.sleep(SCRAPE_S)
        watched.exemplars = await asyncio.to_thread(
            prometheus.exemplars, "mmreward_request_duration_seconds_bucket", seconds=600
        )
        return watched


@pytest.fixture(scope="module")
def watched(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Watched:
    tool("prometheus")
    chosen = services()
    least_s = 40.0  # for what should stay silent to have had the time to speak

    def is_over(fired: Fired, seconds: float) -> bool:
        missing = any(one.raises - fired[one.job] for one in chosen)
        return seconds > (PATIENCE_S if missing else least_s)

    return asyncio.run(watch(tmp_path_factory.mktemp("alerts"), chosen, is_over))


@pytest.mark.slow
@pytest.mark.parametrize("job", [one.job for one in services()])
def test_the_fault_raises_its_alerts_and_no_other(job: str, watched: Watched) -> None:
    """What was caused is what is said; beside the normal load nothing is said at all."""
    (one,) = (one for one in watched.services if one.job == job)
    fired = watched.fired[job]
    assert one.raises <= fired
    assert fired <= watched.allowed(one)
    assert watched.fired[""] == set()


@pytest.mark.slow
def test_failed_requests_can_be_found_in_the_log(watched: Watched) -> None:
    """Prometheus holds the ids of requests that failed, as exemplars, and of no other."""
    ids = {
        one["seriesLabels"]["job"]: {each["labels"]["request_id"] for each in one["exemplars"]}
        for one in watched.exemplars
    }
    assert ids["mmreward-dead"]
    assert "mmreward-normal" not in ids


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
    watched = asyncio.run(watch(tmp_path, chosen, lambda _, seconds: seconds > 600))
    assert watched.fired["mmreward-normal"] <= watched.allowed(chosen[0])
