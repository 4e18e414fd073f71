"""The progress of a file on stderr: a bar with rate and time left where that is a terminal.

Elsewhere a command may ask for a line now and then, for the log of a long job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


@contextmanager
def progress(
    name: str, total: int | None, *, line_every_s: float | None = None
) -> Iterator[Callable[[], None]]:
    """A function that says that one more row is done.

    Args:
        total: None where nobody knows.
        line_every_s: where stderr is no terminal, a line after so many seconds; None: no lines.
    """
    columns = (
        TextColumn(name.replace("{", "{{").replace("}", "}}"), markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    stderr = Console(stderr=True)
    if not stderr.is_terminal and line_every_s is not None and total is not None:
        yield _lines(stderr, name, total, line_every_s)
        return
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _lines(stderr: Console, name: str, total: int, every_s: float) -> Callable[[], None]:
    begun = told = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal told, done
        done += 1
        now = time.monotonic()
        if now - told < every_s and done < total:
            return
        told = now
        rate = done / max(now - begun, 1e-9)
        left_s = (total - done) / rate
        said = f"{name}: {done} of {total}, {rate:.1f}/s, {left_s:.0f} s left"
        stderr.print(said, markup=False, highlight=False, soft_wrap=True)

    return advance
