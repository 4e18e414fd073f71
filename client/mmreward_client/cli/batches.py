"""A whole file through the service: batches, several under way, results in the order of the file.

A batch that is too large is halved until it fits. A row that cannot be sent, or cannot be scored,
has its own status; only what no row is to blame for (service gone, key refused) ends the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mmreward_client.cli.rows import Row, with_pictures
from mmreward_client.errors import TooLarge
from mmreward_client.schema import PairResult, PairsReply, ScoreReply, ScoreResult

Result = ScoreResult | PairResult
Request = Callable[[Sequence[dict[str, Any]]], ScoreReply | PairsReply]


@dataclass(frozen=True)
class Outcome:
    """A row and what came of it."""

    row: Row
    result: Result


def run_batches(
    rows: Sequence[Row],
    request: Request,
    *,
    item_kind: type[BaseModel],
    result_kind: type[ScoreResult] | type[PairResult],
    batch_size: int,
    concurrency: int,
) -> Iterator[Outcome]:
    """One outcome per row, in order.

    Raises:
        RewardError: a request failed as a whole.
    """

    def serve(batch: Sequence[Row]) -> list[Outcome]:
        read = [with_pictures(row, item_kind) for row in batch]
        good = [row for row in read if row.error is None]
        results = iter(ask(good) if good else [])
        return [
            Outcome(row, next(results) if row.error is None else _invalid(row, result_kind))
            for row in read
        ]

    def ask(good: Sequence[Row]) -> list[Result]:
        try:
            return list(request([row.item for row in good]).data)
        except TooLarge as error:
            if len(good) == 1:
                return [_invalid(good[0].failed(str(error)), result_kind)]
            half = len(good) // 2
            return ask(good[:half]) + ask(good[half:])

    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    workers = ThreadPoolExecutor(max_workers=concurrency)
    try:
        for outcomes in workers.map(serve, batches):
            yield from outcomes
    finally:
        # What is still waiting is of no use once a request has failed as a whole.
        workers.shutdown(cancel_futures=True)


def _invalid(row: Row, kind: type[ScoreResult] | type[PairResult]) -> Result:
    return kind(index=0, id=row.id, status="invalid", error=row.error)
