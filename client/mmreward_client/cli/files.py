"""A subcommand on a whole file: read the rows, show progress, hand out each outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel

from mmreward_client.cli.batches import Outcome, Request, ResultKind, run_batches
from mmreward_client.cli.outcome import failures_end_the_command, finish
from mmreward_client.cli.progress import progress
from mmreward_client.cli.rows import Row, read_rows
from mmreward_client.schema import PairResult, ScoreResult
from mmreward_client.sync import RewardClient


@dataclass(frozen=True)
class FileJob:
    """A file, and how to send it.

    Attributes:
        adapt: brings a row that was read into the form of an item.
    """

    path: Path
    item_kind: type[BaseModel]
    result_kind: ResultKind
    batch_size: int
    concurrency: int
    adapt: Callable[[Row], Row] = field(default=lambda row: row)

    def run(self, request: Request) -> Iterator[Outcome]:
        """One outcome per row in the order of the file, with a progress bar on stderr.

        Raises:
            RewardError: a request failed as a whole.
        """
        rows = self.rows()
        with progress(self.path.name, len(rows)) as advance:
            for outcome in run_batches(
                rows,
                request,
                item_kind=self.item_kind,
                result_kind=self.result_kind,
                batch_size=self.batch_size,
                concurrency=self.concurrency,
            ):
                advance()
                yield outcome

    def rows(self) -> list[Row]:
        """All rows of the file; the columns that are ignored are named.

        Raises:
            typer.BadParameter: it cannot be read, or holds no rows.
        """
        try:
            rows = [self.adapt(row) for row in read_rows(self.path, self.item_kind)]
        except OSError as error:
            raise typer.BadParameter(
                f"{self.path}: {error.strerror}", param_hint="--file"
            ) from None
        if not rows:
            raise typer.BadParameter(f"{self.path} holds no rows", param_hint="--file")
        unknown = sorted(set().union(*(row.unknown for row in rows)))
        if unknown:
            typer.echo(f"mmreward: ignored columns: {', '.join(unknown)}", err=True)
        return rows


Result = TypeVar("Result", ScoreResult, PairResult)


def score_file(
    client: RewardClient,
    job: FileJob,
    request: Request,
    kind: type[Result],
    show: Callable[[list[Result], list[str]], None],
    *,
    as_json: bool,
    strict: bool,
) -> None:
    """One line per row in the order of the file; `show` prints the results with their labels."""
    results: list[Result] = []
    labels: list[str] = []
    with failures_end_the_command(), client:
        try:
            for outcome in job.run(request):
                report_bad_row(outcome)
                if as_json:
                    typer.echo(json_line(outcome))
                assert isinstance(outcome.result, kind)
                results.append(outcome.result)
                labels.append(label(outcome.row))
        finally:
            # Also when a request failed midway: what was scored until then is not lost.
            if results and not as_json:
                show(results, labels)
    finish([result.status for result in results], strict=strict)


def report_bad_row(outcome: Outcome) -> None:
    """A row that was never sent is named on stderr at once, with its place in the file."""
    if outcome.row.error is not None:
        typer.echo(f"mmreward: {outcome.row.error}", err=True)


def json_line(outcome: Outcome) -> str:
    """The result of a row; `line` is its place in the file, from 1."""
    result: dict[str, Any] = outcome.result.model_dump(mode="json", exclude={"index"})
    return json.dumps({"line": outcome.row.line, **result}, ensure_ascii=False)


def label(row: Row) -> str:
    return row.id or f"line {row.line}"
