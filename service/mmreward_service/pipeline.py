"""The whole way of a scoring request, readable from top to bottom.

    answer.read_request                   body -> a valid envelope with raw items
         -> intake.accept                 kind, model, pin, limits; items parsed one by one
         -> admission.admit               permits in critiques, or 429
         -> Run.serve                     all items side by side, each delivered when finished
              -> a way                    how an item of this request is served:
                   critiquing.Scores      one response: a critique and its score
                   critiquing.Pairs       two of them -> delta, probability, beta
                   judging.JudgedPairs    two responses compared in both orders -> the same
                   judging.Groups         many compared with each other -> a score for each
              -> asking.Asker             one question: deadline and failures become a status
                   -> pictures            data URI -> RGB, once per content, off the event loop
                   -> renderer            texts -> token ids
                   -> fairness            its turn among the questions of all requests
                   -> engine              a critique and its score, or a judgement
         -> Run.summary                   usage and timings, for reply, log and metrics

Whoever awaits `serve` may be cancelled at any time (the caller hung up): every item is, and with it
its request in the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mmreward_client.schema import (
    GroupResult,
    GroupsRequest,
    PairResult,
    Provenance,
    ScoreRequest,
    ScoreResult,
    Timings,
    Usage,
)

from mmreward_service.asking import Asker
from mmreward_service.critiquing import Pairs, Scores
from mmreward_service.errors import DeadlineExceeded, EngineStopped
from mmreward_service.intake import AnyRequest, Parsed, accept
from mmreward_service.judging.groups import Groups
from mmreward_service.judging.pairs import JudgedPairs
from mmreward_service.media import Pictures
from mmreward_service.metrics.null_reasons import null_reasons
from mmreward_service.reward.spec import Kind
from mmreward_service.state import Service
from mmreward_service.timings import Stopwatch

Result = ScoreResult | PairResult | GroupResult
Deliver = Callable[[Result], Awaitable[None]]


class Way(Protocol):
    """How the items of one kind of request are served."""

    def critiques(self, item: Any) -> int:
        """How many questions an item takes; each takes as many permits as there are samples."""
        ...

    def invalid(self, parsed: Parsed, error: str) -> Result: ...

    async def serve(self, asker: Asker, index: int, id_: str | None, item: Any) -> Result:
        """The result, whatever happens to the item."""
        ...


def way_of(request: AnyRequest, kind: Kind) -> Way:
    if isinstance(request, ScoreRequest):
        return Scores(request)
    if isinstance(request, GroupsRequest):
        return Groups(request)
    return JudgedPairs(request) if kind == "judge" else Pairs(request)


@dataclass(frozen=True)
class Summary:
    """Everything of a reply beside its items."""

    id: str
    model: str
    provenance: Provenance
    usage: Usage
    timings: Timings


class Run:
    """One accepted request on its way."""

    def __init__(self, service: Service, request: AnyRequest, request_id: str) -> None:
        self.service = service
        self.request_id = request_id
        self.stopwatch = Stopwatch()
        self.accepted = accept(request, service.engine, service.settings, self.stopwatch.started)
        self.way = way_of(request, self.accepted.kind)
        questions = sum(self.way.critiques(item) for item in self.accepted.good)
        # Whoever holds the run enters `ticket`: it gives back what the questions have not.
        self.ticket = service.admission.admit(questions * self.accepted.critiques)
        self._pictures = Pictures(request.media, service.decoder, self.stopwatch)
        self.asker = Asker(
            service, self.accepted, self.ticket, self._pictures, self.stopwatch, request_id
        )

    async def serve(self, deliver: Deliver) -> None:
        """Serve all items side by side; `deliver` is awaited once per item, in any order."""
        async with self._pictures, asyncio.TaskGroup() as group:
            for parsed in self.accepted.items:
                group.create_task(self._serve_item(parsed, deliver))
        self.service.metrics.traffic.stages(self.stopwatch)

    def summary(self) -> Summary:
        engine, usage = self.service.engine, self.asker.usage
        return Summary(
            id=self.request_id,
            model=engine.model_name,
            provenance=Provenance(**engine.provenance),
            usage=Usage(
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                completion_tokens=usage.completion_tokens,
            ),
            timings=self.stopwatch.timings(),
        )

    def raise_if_nothing_was_served(self) -> None:
        """Refusals of the whole request that only show after it has been tried."""
        if self.asker.engine_stopped:
            raise EngineStopped(
                "the engine has stopped", retry_after_s=self.service.settings.retry_after_s
            )
        if self.asker.deadline_passed and not self.asker.reached_engine:
            raise DeadlineExceeded("the deadline passed before any item reached the engine")

    async def _serve_item(self, parsed: Parsed, deliver: Deliver) -> None:
        index, id_, item = parsed.index, parsed.id, parsed.item
        result = (
            self.way.invalid(parsed, item)
            if isinstance(item, str)
            else await self.way.serve(self.asker, index, id_, item)
        )
        self.service.metrics.quality.item(result.status, null_reasons(result, item))
        await deliver(result)
