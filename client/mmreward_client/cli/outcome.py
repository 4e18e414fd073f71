"""How a command ends: what is said on stderr and with which code.

Exit 0: the command did its work. An item without a score is part of that work: it is in the
output with its status, and counted on stderr; so is a group of which some comparisons failed, but
it has scores. Exit 1: a request failed as a whole, or not one item got a score; with `--strict`, if
any item failed in whole or in part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from mmreward_client.errors import RewardError


@contextmanager
def failures_end_the_command() -> Iterator[None]:
    """A failed request is one line, not a traceback."""
    try:
        yield
    except RewardError as error:
        typer.echo(f"mmreward: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error


def finish(statuses: Sequence[str], *, strict: bool) -> None:
    """Count what failed, and exit accordingly."""
    failed = Counter(status for status in statuses if status not in ("ok", "partial"))
    partial = sum(status == "partial" for status in statuses)
    if failed:
        counts = ", ".join(f"{count} {status}" for status, count in failed.most_common())
        typer.echo(
            f"mmreward: {failed.total()} of {len(statuses)} items failed: {counts}", err=True
        )
    if partial:
        typer.echo(f"mmreward: {partial} of {len(statuses)} items failed in part", err=True)
    if (strict and (failed or partial)) or (failed and failed.total() == len(statuses)):
        raise typer.Exit(1)
