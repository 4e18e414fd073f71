"""A whole file through the service: batches, several under way, results in the order of the file.

Rows are taken as they are needed, so that a file larger than memory can pass through. A batch that
is too large is halved until it fits. A row that cannot be sent, or cannot be scored, has its own
status; only what no row is to blame for (service gone, key refused) ends the command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel

from mmreward_client.cli.rows import Row, with_pictures
from mmreward_client.errors import TooLarge
from mmreward_client.schema import (
    GroupResult,
    GroupsReply,
    PairResult,
    PairsReply,
    ScoreReply,
    ScoreResult,
)

Result = ScoreResult | PairResult | GroupResult
ResultKind = type[ScoreResult] | type[PairResult] | type[GroupResult]
Request = Callable[[Sequence[dict[str, Any]]], ScoreReply | PairsReply | GroupsReply]

_BATCHES_PER_WORKER = 4
"""Read ahead of the one whose results are next: a slow one must not leave the others idle."""


@dataclass(frozen=True)
class Outcome:
    """A row and what came of it."""

    row: Row
    result: Result


def run_batches(
    rows: Iterable[Row],
    request: Request,
    *,
    item_kind: type[BaseModel],
    result_kind: ResultKind,
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

    workers = ThreadPoolExecutor(max_workers=concurrency)
    waiting: deque[Future[list[Outcome]]] = deque()
    try:
        for batch in _batched(rows, batch_size):
            waiting.append(workers.submit(serve, batch))
            if len(waiting) >= _BATCHES_PER_WORKER * concurrency:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        # What is still waiting is of no use once a request has failed as a whole.
        workers.shutdown(cancel_futures=True)


def _batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch


def _invalid(row: Row, kind: ResultKind) -> Result:
    if kind is GroupResult:
        responses = row.item.get("responses")
        count = len(responses) if isinstance(responses, list) else 0
        return GroupResult(
            index=0,
            id=row.id,
            status="invalid",
            scores=[None] * count,
            scores_from=[0] * count,
            error=row.error,
        )
    return kind(index=0, id=row.id, status="invalid", error=row.error)
