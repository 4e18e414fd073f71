"""Groups of a file into a file: `mmreward groups --file ROWS --output ANSWERS`, resumable.

A line is the row with these fields added (or in place of its own of that name): `scores`,
`scores_from`, `comparisons`, `order_consistency`, `status`, `error`, and where they come from:
`fingerprint`, `request`, `row_sha256`. Every request is pinned to the fingerprint that the service
has when the command begins. A group that has a score for any of its responses is not asked about
again; one that failed as a whole is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from mmreward_client.cli.batches import Outcome, Request, run_batches
from mmreward_client.cli.files import report_bad_row
from mmreward_client.cli.progress import progress
from mmreward_client.cli.rows import Row
from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput, RewardError
from mmreward_client.evaluation.resuming import Key, Lines, Origin, ResumedFile
from mmreward_client.schema import GroupItem, GroupResult, describe

_RESULT_FIELDS = (
    *("scores", "scores_from", "comparisons", "order_consistency", "status", "error"),
)
_ADDED = frozenset({*_RESULT_FIELDS, "fingerprint", "request", "row_sha256"})


@dataclass(frozen=True)
class GroupsIntoFile:
    """Where the groups of a file go, and how.

    Attributes:
        request: sends groups, pinned to the fingerprint of `origin`.
    """

    rows: Sequence[Row]
    origin: Origin
    request: Request
    batch_size: int
    concurrency: int

    def write(self, output: Path) -> list[str]:
        """Ask about every row that has no answer in `output` yet; the status of every group.

        Raises:
            RewardError: a request failed as a whole; what was answered until then is in the file.
            InvalidInput: the file holds other answers, or another process is writing it.
            OSError: the file cannot be written.
        """
        keys = dict(zip(_keys(self.rows), self.rows, strict=True))
        lines = Lines(_digest, _is_answered, f"{self.rows[0].path}")
        with ResumedFile(output, self.origin, keys, lines) as answers:
            if answers.answered:
                say(f"{len(answers.answered)} groups are answered already")
            if answers.asked_again:
                say(f"{answers.asked_again} lines without scores are asked again")
            try:
                self._ask(keys, answers)
            except RewardError:
                say(f"the answers so far are in {output}; the same command goes on from there")
                raise
        with output.open("rb") as written:
            return [str(json_object(line)["status"]) for line in written if line.strip()]

    def _ask(self, keys: dict[Key, Row], answers: ResumedFile) -> None:
        wanted = {row.line: key for key, row in keys.items() if key not in answers.answered}
        rows = [row for row in self.rows if row.line in wanted]
        with progress(self.rows[0].path.name, len(rows)) as advance:
            for outcome in self._outcomes(rows):
                report_bad_row(outcome)
                assert isinstance(outcome.result, GroupResult)
                digest, _ = wanted[outcome.row.line]
                answers.write(_answer(outcome.row, outcome.result, self.origin, digest))
                advance()

    def _outcomes(self, rows: Sequence[Row]) -> Iterator[Outcome]:
        return run_batches(
            rows,
            self.request,
            item_kind=GroupItem,
            result_kind=GroupResult,
            batch_size=self.batch_size,
            concurrency=self.concurrency,
        )


def say(text: str) -> None:
    typer.echo(f"mmreward: {text}", err=True)


def _answer(row: Row, result: GroupResult, origin: Origin, digest: str) -> dict[str, Any]:
    return {
        **row.columns,
        **result.model_dump(mode="json", include=set(_RESULT_FIELDS)),
        "fingerprint": origin.fingerprint,
        "request": dict(origin.request),
        "row_sha256": digest,
    }


def _keys(rows: Sequence[Row]) -> list[Key]:
    seen: Counter[str] = Counter()
    keys = []
    for row in rows:
        digest = _digest(row.columns)
        keys.append((digest, seen[digest]))
        seen[digest] += 1
    return keys


def _digest(row: dict[str, Any]) -> str:
    """SHA-256 of a row's own columns as canonical JSON."""
    own = {name: value for name, value in row.items() if name not in _ADDED}
    canonical = json.dumps(own, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _is_answered(row: dict[str, Any]) -> bool:
    found = {name: row.get(name) for name in _RESULT_FIELDS}
    try:
        result = GroupResult.model_validate({"index": 0, **found})
    except ValidationError as error:
        raise InvalidInput(f"is no answer about a group: {describe(error)}") from None
    return any(score is not None for score in result.scores)
