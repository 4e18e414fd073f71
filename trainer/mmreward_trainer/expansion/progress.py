"""How far a run is, on stderr: a bar on a terminal, a line every half minute anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmreward_trainer.expansion.sending import Sent

_SECONDS_PER_LINE = 30.0


@contextmanager
def sending_progress(total: int) -> Iterator[Callable[[Sent], None]]:
    """A function that is told of every reply, with what has been sent and used until then."""
    stderr = Console(stderr=True)
    if not stderr.is_terminal:
        yield _lines(total)
        return
    columns = (
        TextColumn("expanding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[used]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("", total=total, used="")
        yield lambda sent: bar.update(task, completed=sent.requests, used=_used(sent))


def _lines(total: int) -> Callable[[Sent], None]:
    last = time.monotonic()

    def say(sent: Sent) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_PER_LINE:
            last = now
            print(f"expanding: {sent.requests} of {total}, {_used(sent)}", file=sys.stderr)

    return say


def _used(sent: Sent) -> str:
    failed = sent.requests - sent.statuses["ok"]
    said = f"{sent.prompt_tokens:,} + {sent.completion_tokens:,} tokens"
    return f"{said}, {failed} failed" if failed else said
