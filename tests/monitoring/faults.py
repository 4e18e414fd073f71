"""Real services, each with one fault that is really caused, and the alerts that it has to raise.

All run on the engine without a model: the faults are of the service and of what the engine says,
and on one machine a dozen engines with models would be twelve times as slow and no more true.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mmreward_service.engine.fake import FakeEngine
from service_kit import picture_uri
from service_kit.apps import listening

Traffic = Callable[[httpx2.AsyncClient, "Service"], Awaitable[None]]
_PAUSE_S = 0.25
DRIFT_AFTER_S = 24.0
"""Longer than the half hour of the tests' scale: what is normal has to be known before."""


@dataclass
class Service:
    """One job: its engine, what is sent to it, and the alerts that this has to raise."""

    job: str
    raises: frozenset[str]
    traffic: Traffic
    engine: FakeEngine = field(default_factory=FakeEngine)
    settings: dict[str, Any] = field(default_factory=dict)
    may_raise: frozenset[str] = frozenset()
    """Those that follow from the fault where what was under way is counted."""
    lives_s: float | None = None
    """It is stopped after so long."""
    address: str = ""
    durations_s: list[float] = field(default_factory=list)

    async def ask(self, client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> None:
        began = time.monotonic()
        with contextlib.suppress(httpx2.TransportError):
            await client.post(path, json=body)
        self.durations_s.append(time.monotonic() - began)


def services() -> list[Service]:
    def job(name: str, *raises: str, **rest: Any) -> Service:
        alerts = frozenset(f"Reward{one}" for one in raises)
        return Service(f"mmreward-{name}", alerts, **rest)

    return [
        job("normal", traffic=_steady()),
        job("killed", "ServiceDown", traffic=_steady(), lives_s=6.0),
        job(
            "dead",
            "NotReady",
            "ErrorBudgetBurn",
            traffic=_once_dead,
            may_raise=frozenset({"RewardItemsFailing"}),
        ),
        job("stalled", "EngineStalled", traffic=_steady(" [[slow]]")),
        job(
            "slow",
            "LatencyBudgetBurn",
            traffic=_steady(),
            engine=FakeEngine(seconds_per_token=0.01),
        ),
        job(
            "full",
            "Overloaded",
            traffic=_crowd,
            engine=FakeEngine(seconds_per_token=0.003),
            settings={"max_in_flight": 4},
        ),
        job("failing", "ItemsFailing", traffic=_steady(" [[fault]]", every=2)),
        job("unparsed", "UnparsedHigh", traffic=_steady(" [[unparsed]]", every=5)),
        job("drifting", "ScoreDrift", traffic=_drifting),
        job("first-wins", "OrderInconsistent", traffic=_groups(" [[quality=5]] [[first_wins]]")),
        job("wrong-build", "ParityBroken", "NotReady", traffic=_none, engine=FakeEngine(drift=0.5)),
    ]


@contextlib.asynccontextmanager
async def serving(one: Service) -> AsyncIterator[None]:
    """The service listens, and its traffic runs, until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        stopped = asyncio.Event()
        up = asyncio.Event()

        async def live() -> None:
            async with listening(one.engine, drain_s=1, **one.settings) as url:
                one.address = url.removeprefix("http://")
                up.set()
                async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
                    traffic = asyncio.ensure_future(one.traffic(client, one))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stopped.wait(), one.lives_s)
                    traffic.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await traffic

        life = asyncio.create_task(live())
        stack.push_async_callback(lambda: life)  # type: ignore[arg-type, return-value]
        stack.callback(stopped.set)
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait({life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        yield


def _items(number: int, marker: str, count: int = 3) -> dict[str, Any]:
    """Different texts each time: the same item would have the same score each time."""
    texts = [f"Answer {number}.{index}{marker}" for index in range(count)]
    return {
        "items": [
            {"images": [_PICTURE], "prompt": "What is it?", "response": text} for text in texts
        ]
    }


def _steady(marker: str = "", every: int = 1) -> Traffic:
    """Scores and pairs; every so many requests with a marker."""

    async def send(client: httpx2.AsyncClient, service: Service) -> None:
        for number in itertools.count():
            marked = marker if number % every == 0 else ""
            await service.ask(client, "/v1/score", _items(number, marked))
            await asyncio.sleep(_PAUSE_S)

    return send


def _groups(marker: str) -> Traffic:
    async def send(client: httpx2.AsyncClient, service: Service) -> None:
        for number in itertools.count():
            responses = [f"{number} {name}{marker}" for name in ("a", "b", "c")]
            item = {"images": [_PICTURE], "prompt": "Which one?", "responses": responses}
            await service.ask(client, "/v1/groups", {"items": [item]})
            await asyncio.sleep(2 * _PAUSE_S)

    return send


async def _once_dead(client: httpx2.AsyncClient, service: Service) -> None:
    """Well for a while; then the engine stops, and callers and probes go on."""
    for number in itertools.count():
        await service.ask(client, "/v1/score", _items(number, " [[dead]]" if number == 8 else ""))
        with contextlib.suppress(httpx2.TransportError):
            await client.get("/ready")
        await asyncio.sleep(_PAUSE_S)


async def _crowd(client: httpx2.AsyncClient, service: Service) -> None:
    async def caller(offset: int) -> None:
        for number in itertools.count(offset, 1000):
            await service.ask(client, "/v1/score", _items(number, "", count=2))
            await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(caller(offset) for offset in range(6)))


async def _drifting(client: httpx2.AsyncClient, service: Service) -> None:
    began = time.monotonic()
    for number in itertools.count():
        if time.monotonic() - began > DRIFT_AFTER_S:
            service.engine._drift = 8.0  # as weights that were swapped below a running service
        await service.ask(client, "/v1/score", _items(number, "", count=8))
        await asyncio.sleep(_PAUSE_S)


async def _none(client: httpx2.AsyncClient, service: Service) -> None:
    await asyncio.Event().wait()


_PICTURE = picture_uri()
