"""Interleaved rounds: every variant once a round, in rotated order, so that drift hits them all.

A machine that slows down for a minute would otherwise slow down whichever variant ran in it. What
is compared is the ratio within a round; quoted are the median and the range over the rounds.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Variant = Callable[[], Awaitable[float]]
"""Does the work once and returns the seconds it took."""

PAUSE_S = 0.3
"""Between two variants: worker threads of the one before may still spin for work."""


async def interleave(
    variants: Mapping[str, Variant], rounds: int, warm_up: Mapping[str, Variant] | None = None
) -> dict[str, list[float]]:
    """Seconds per variant and round; one warm-up of everything is not counted."""
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with progress() as bar:
        task = bar.add_task("warm-up", total=len(names) * (rounds + 1))
        for name in names:
            bar.update(task, description=f"warm-up: {name}")
            await (warm_up or variants).get(name, variants[name])()
            bar.advance(task)
        for number in range(rounds):
            for position in range(len(names)):
                name = names[(position + number) % len(names)]
                bar.update(task, description=f"round {number + 1}: {name}")
                await asyncio.sleep(PAUSE_S)
                seconds[name].append(await variants[name]())
                bar.advance(task)
    return seconds


def progress() -> Progress:
    return Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        refresh_per_second=1,
        transient=True,
    )


def spread(values: list[float], digits: int = 4) -> dict[str, Any]:
    """Median and range, and the values themselves."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "values": [round(value, digits) for value in values],
    }


def ratio(values: list[float], baseline: list[float]) -> dict[str, Any]:
    """values / baseline, round by round."""
    return spread([a / b for a, b in zip(values, baseline, strict=True)])
