"""The steps of `mmreward-train expand` once its options are read: rehearse, or ask and write."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mmreward_trainer.expansion.estimate import Estimate, Prices, Tokens
    from mmreward_trainer.expansion.journal import Journal
    from mmreward_trainer.expansion.run import Run
    from mmreward_trainer.expansion.sending import Sent


def rehearse(run: Run, tokens: Tokens, prices: Prices) -> None:
    """The estimate, and the first request as it would be sent."""
    from mmreward_trainer.expansion.estimate import estimate
    from mmreward_trainer.expansion.requests import without_pictures

    with _journal(run, writable=False) as journal:
        found, first = estimate(run.source, run.settings, journal, run.selection, tokens, prices)
    _say_estimate(run, found)
    if first is not None:
        body = without_pictures(first.body(run.settings))
        typer.echo(f"\nthe first request, {first.where} {first.side}:")
        typer.echo(f"POST {run.settings.base_url.rstrip('/')}/chat/completions")
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
    typer.echo("\nnothing was sent")


def carry_out(run: Run, tokens: Tokens, prices: Prices, api_key: str | None, *, yes: bool) -> None:
    from mmreward_trainer.expansion.estimate import estimate
    from mmreward_trainer.expansion.report import summary_lines, written_lines
    from mmreward_trainer.expansion.sending import Sent

    with _journal(run, writable=True) as journal:
        if journal.cut_bytes:
            say(f"the journal ended in half a line ({journal.cut_bytes} bytes): cut off")
        if journal.foreign:
            say(f"{journal.foreign} lines of the journal are of other settings, and not used")
        found, _ = estimate(run.source, run.settings, journal, run.selection, tokens, prices)
        _say_estimate(run, found)
        if found.requests:
            _confirm(found, yes=yes)
        sent = Sent()
        run.record(found, journal)
        if found.requests:
            _send(run, journal, found, api_key, sent)
        for line in summary_lines(sent, found, journal.path):
            typer.echo(line)
        run.record(found, journal, sent)
        done = run.write(journal, is_complete=not found.held_back)
        run.record(found, journal, sent, done)
        for line in written_lines(done, run.on_failure):
            typer.echo(line)
        if found.held_back:
            say(f"{found.held_back} requests are open; the same command goes on from there")


def _send(run: Run, journal: Journal, found: Estimate, api_key: str | None, sent: Sent) -> None:
    """What has been answered is told of and kept, however the sending ends."""
    from mmreward_client.errors import RewardError

    from mmreward_trainer.expansion.errors import ExpansionError
    from mmreward_trainer.expansion.report import summary_lines

    try:
        run.send(journal, found.requests, api_key, sent)
    except (ExpansionError, RewardError, OSError, KeyboardInterrupt):
        for line in summary_lines(sent, found, journal.path):
            typer.echo(line)
        run.record(found, journal, sent)
        say(f"the replies so far are in {journal.path}; the same command goes on from there")
        raise


def _journal(run: Run, *, writable: bool) -> Journal:
    from mmreward_trainer.expansion.journal import Journal

    path = run.output.with_name(run.output.name + ".journal.jsonl")
    return Journal(path, run.settings, writable=writable)


def _confirm(found: Estimate, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody to ask here: give --yes", param_hint="--yes")
    if not typer.confirm(f"Send {found.requests} requests?"):
        say("nothing was sent")
        raise typer.Exit(1)


def _say_estimate(run: Run, found: Estimate) -> None:
    from mmreward_trainer.expansion.report import estimate_lines

    for line in estimate_lines(found, run.settings, run.on_failure):
        typer.echo(line)


@contextmanager
def failures_end_the_command() -> Iterator[None]:
    """A failure is one line, not a traceback."""
    from mmreward_client.errors import RewardError

    from mmreward_trainer.expansion.errors import ExpansionError

    try:
        yield
    except (ExpansionError, RewardError) as error:
        say(f"{type(error).__name__}: {error}")
        raise typer.Exit(1) from error
    except OSError as error:
        say(f"{error.filename or 'output'}: {error.strerror}")
        raise typer.Exit(1) from error


def say(text: str) -> None:
    typer.echo(f"mmreward-train: {text}", err=True)
