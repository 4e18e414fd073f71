"""Results for people: tables on a terminal, with a colour for each status."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmreward_client.schema import (
    GroupsReply,
    PairResult,
    PairsReply,
    Scored,
    ScoreReply,
    ScoreResult,
)

_STATUS_COLOURS = {"ok": "green", "partial": "yellow", "truncated": "yellow", "unparsed": "yellow"}


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def with_error(value: float | None, error: float | None, *, signed: bool = False) -> str:
    """A number and, where several critiques were sampled, the noise of decoding beside it."""
    said = number(value, signed=signed)
    return said if error is None else f"{said} ± {number(error)}"


def status(name: str) -> Text:
    return Text(name, style=_STATUS_COLOURS.get(name, "red"))


def critique_of(scored: Scored | None) -> Text:
    """The first critique, and how many of several were good."""
    if scored is None:
        return Text("-")
    if scored.error is not None:
        return Text(scored.error, style="red")
    text = next((c.text.strip() for c in scored.critiques if c.text), "")
    asked = len(scored.critiques)
    return Text(text if asked <= 1 else f"[{scored.critiques_ok} of {asked} good] {text}")


def score_table(results: Sequence[ScoreResult], labels: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("response", max_width=40, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("critique", overflow="fold")
    for result, label in zip(results, labels, strict=True):
        table.add_row(
            Text(label),
            with_error(result.score, result.score_stderr, signed=True),
            status(result.status),
            critique_of(result),
        )
    return table


def pair_table(results: Sequence[PairResult], labels: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("pair", max_width=30, overflow="fold")
    for name in ("chosen", "rejected", "δ", "prob", "β"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("error", overflow="fold")
    for result, label in zip(results, labels, strict=True):
        delta = Text(
            with_error(result.delta, result.delta_stderr, signed=True),
            style="red" if result.delta is not None and result.delta < 0 else "",
        )
        table.add_row(
            Text(label),
            number(result.chosen.score if result.chosen else None, signed=True),
            number(result.rejected.score if result.rejected else None, signed=True),
            delta,
            number(result.prob),
            number(result.beta, 4),
            status(result.status),
            Text(result.error or "", style="red"),
        )
    return table


def pair_critiques(console: Console, result: PairResult) -> None:
    for name, side in (("chosen", result.chosen), ("rejected", result.rejected)):
        console.print(Text(f"{name}: ", style="bold") + critique_of(side), soft_wrap=True)


def origin(reply: ScoreReply | PairsReply | GroupsReply) -> Text:
    """Where the numbers come from, in one grey line."""
    fingerprint = reply.provenance.fingerprint
    usage, timings = reply.usage, reply.timings
    return Text(
        f"{reply.model}  fingerprint {fingerprint}  "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens  {timings.total_s:.2f} s",
        style="bright_black",
    )
