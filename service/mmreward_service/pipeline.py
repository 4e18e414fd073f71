"""The whole way of a scoring request, readable from top to bottom.

    answer.read_request                   body -> a valid envelope with raw items
         -> intake.accept                 model, pin, limits; items parsed one by one
         -> admission.admit               permits in critiques, or 429
         -> Run.serve                     all items side by side, each delivered when finished
              -> _score                   one response: deadline and failures become a status
                   -> pictures            data URI -> RGB, once per content, off the event loop
                   -> renderer            texts -> token ids
                   -> engine              critique and score
                   -> scoring.scored      readings -> score or status
              -> scoring.pair_result      both sides -> delta, probability, beta
         -> Run.summary                   usage and timings, for reply, log and metrics

Whoever awaits `serve` may be cancelled at any time (the caller hung up): every item is, and with it
its request in the engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Generic

from mmreward_client.schema import (
    PairItem,
    PairResult,
    PairsRequest,
    Provenance,
    Scored,
    ScoreItem,
    ScoreRequest,
    ScoreResult,
    Timings,
    Usage,
)

from mmreward_service.engine.protocol import (
    CritiqueJob,
    EngineDead,
    ImageRefused,
    Media,
    Outcome,
    PromptTooLong,
    ReadJob,
    TokenUsage,
)
from mmreward_service.errors import (
    DeadlineExceeded,
    EngineStopped,
    ImageUnusable,
    ItemError,
    ItemFailed,
    PastDeadline,
    boundary,
    place,
)
from mmreward_service.intake import Accepted, ItemT, Parsed, accept, seconds_left
from mmreward_service.logs import line
from mmreward_service.media import Pictures
from mmreward_service.reward.prompt import PromptError
from mmreward_service.scoring import derive_seed, failed, pair_result, score_result, scored
from mmreward_service.state import Service
from mmreward_service.timings import Stopwatch

log = logging.getLogger(__name__)

Result = ScoreResult | PairResult
Deliver = Callable[[Result], Awaitable[None]]

_LATE = "not finished before the deadline"
_LONG_TEXT = 20_000
"""Characters from which tokenising is worth a thread: a few milliseconds."""


@dataclass(frozen=True)
class Summary:
    """Everything of a reply beside its items."""

    id: str
    model: str
    provenance: Provenance
    usage: Usage
    timings: Timings


class Run(Generic[ItemT]):
    """One accepted request on its way."""

    def __init__(
        self,
        service: Service,
        request: ScoreRequest | PairsRequest,
        kind: type[ItemT],
        request_id: str,
    ) -> None:
        self.service = service
        self.request = request
        self.request_id = request_id
        self.stopwatch = Stopwatch()
        self.usage = TokenUsage()
        self.reached_engine = False
        self.deadline_passed = False
        self.engine_stopped = False
        self.accepted: Accepted[ItemT] = accept(
            request, kind, service.engine, service.settings, self.stopwatch.started
        )
        # Whoever holds the run enters `ticket`: it gives back what the items have not.
        sides = 2 if isinstance(request, PairsRequest) else 1
        self.permits_per_item = sides * self.accepted.critiques
        self.ticket = service.admission.admit(self.accepted.good * self.permits_per_item)

    async def serve(self, deliver: Deliver) -> None:
        """Serve all items side by side; `deliver` is awaited once per item, in any order."""
        pictures = Pictures(self.request.media, self.service.decoder, self.stopwatch)
        async with pictures, asyncio.TaskGroup() as group:
            for parsed in self.accepted.items:
                group.create_task(self._serve_item(parsed, pictures, deliver))
        self.service.metrics.observe_stages(self.stopwatch)

    def summary(self) -> Summary:
        engine = self.service.engine
        return Summary(
            id=self.request_id,
            model=engine.model_name,
            provenance=Provenance(**engine.provenance),
            usage=Usage(
                prompt_tokens=self.usage.prompt_tokens,
                cached_tokens=self.usage.cached_tokens,
                completion_tokens=self.usage.completion_tokens,
            ),
            timings=self.stopwatch.timings(),
        )

    def raise_if_nothing_was_served(self) -> None:
        """Refusals of the whole request that only show after it has been tried."""
        if self.engine_stopped:
            raise EngineStopped(
                "the engine has stopped", retry_after_s=self.service.settings.retry_after_s
            )
        if self.deadline_passed and not self.reached_engine:
            raise DeadlineExceeded("the deadline passed before any item reached the engine")

    async def _serve_item(
        self, parsed: Parsed[ItemT], pictures: Pictures, deliver: Deliver
    ) -> None:
        result = await self._result(parsed, pictures)
        if not isinstance(parsed.item, str):
            self.ticket.release(self.permits_per_item)
        self.service.metrics.items.labels(self.service.engine.model_name, result.status).inc()
        await deliver(result)

    async def _result(self, parsed: Parsed[ItemT], pictures: Pictures) -> Result:
        item: ScoreItem | PairItem | str = parsed.item
        if isinstance(self.request, PairsRequest):
            if isinstance(item, str):
                return PairResult(index=parsed.index, id=parsed.id, status="invalid", error=item)
            assert isinstance(item, PairItem)
            chosen, rejected = await asyncio.gather(
                self._score(item, item.chosen, item.chosen_critique, pictures),
                self._score(item, item.rejected, item.rejected_critique, pictures),
            )
            calibration = self.service.engine.spec.find_calibration(
                item.mode, self.accepted.critiques
            )
            beta = self.request.beta
            return pair_result(parsed.index, parsed.id, chosen, rejected, calibration, beta)
        if isinstance(item, str):
            return score_result(parsed.index, parsed.id, failed("invalid", item))
        assert isinstance(item, ScoreItem)
        one = await self._score(item, item.response, item.critique, pictures)
        return score_result(parsed.index, parsed.id, one)

    async def _score(
        self,
        item: ScoreItem | PairItem,
        response: str,
        critique: str | None,
        pictures: Pictures,
    ) -> Scored:
        """One response, whatever happens to it."""
        try:
            async with asyncio.timeout(seconds_left(self.accepted.deadline)):
                with self._failures_of_an_item():
                    if seconds_left(self.accepted.deadline) <= 0:
                        raise PastDeadline(_LATE)
                    outcome = await self._ask(item, response, critique, pictures)
                    self.usage += outcome.usage
                    return scored(outcome.readings, item.mode, critique)
        except TimeoutError:
            self.deadline_passed = True
            return failed("deadline", _LATE)
        except ItemError as error:
            self.deadline_passed |= error.status == "deadline"
            return failed(error.status, str(error))
        except PromptTooLong as error:
            return failed("too_long", str(error))
        except EngineDead as error:
            self.engine_stopped = True
            self.service.metrics.ready.set(0)
            return failed("internal", str(error))

    async def _ask(
        self,
        item: ScoreItem | PairItem,
        response: str,
        critique: str | None,
        pictures: Pictures,
    ) -> Outcome:
        """Pictures, prompt, engine."""
        budget = self.service.decoder.budget
        async with AsyncExitStack() as held:
            with self.stopwatch.stage("decode"):
                payloads = await pictures.payloads(item.images, item.video)
                pixels = sum(payload.pixels for payload in payloads)
                if pixels > budget.limit:
                    raise ImageUnusable(
                        f"{pixels} pixels in all, max_pixels_in_flight is {budget.limit}"
                    )
                await held.enter_async_context(budget.hold(pixels))
                media = await pictures.media(payloads, item.video)
            with self.stopwatch.stage("prompt"):
                ids = await self._render(item, response, critique, media)
            with self.stopwatch.stage("engine"):
                return await self._engine(item, ids, media)

    async def _render(
        self, item: ScoreItem | PairItem, response: str, critique: str | None, media: Media
    ) -> list[int]:
        def render() -> list[int]:
            return self.service.engine.renderer.render(
                prompt=item.prompt,
                response=response,
                images=0 if media.is_video else len(media.images),
                video=media.is_video,
                mode=item.mode,
                critique=critique,
            )

        prompt = item.prompt
        size = len(prompt) if isinstance(prompt, str) else sum(len(t.content) for t in prompt)
        if size + len(response) + len(critique or "") < _LONG_TEXT:
            return render()
        return await self.service.decoder.in_thread(self.stopwatch, render)

    async def _engine(self, item: ScoreItem | PairItem, ids: list[int], media: Media) -> Outcome:
        self.reached_engine = True
        if item.mode != "generate":
            return await self.service.engine.read(ReadJob(ids, media))
        accepted = self.accepted
        return await self.service.engine.critique(
            CritiqueJob(
                prompt_token_ids=ids,
                media=media,
                max_tokens=accepted.max_tokens,
                critiques=accepted.critiques,
                temperature=accepted.temperature,
                seed=derive_seed(accepted.seed, ids),
            )
        )

    @contextmanager
    def _failures_of_an_item(self) -> Iterator[None]:
        """What the engine and the libraries raise, in the words of `errors`."""
        with boundary(self._unexpected, EngineDead, PromptTooLong):
            try:
                yield
            except (ImageRefused, PromptError, ExceptionGroup) as error:
                raise _in_our_words(error) from error

    def _unexpected(self, error: Exception) -> ItemFailed:
        # The type and the place, not the message: it may quote a prompt.
        name = type(error).__name__
        log.error(line("item_failed", request_id=self.request_id, error=name, at=place(error)))
        return ItemFailed(f"{name}, see the log of request {self.request_id}")


def _in_our_words(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):  # an engine that runs the parts of a job side by side
        return _in_our_words(error.exceptions[0])
    if isinstance(error, ImageRefused):
        return ImageUnusable(str(error))
    if isinstance(error, PromptError):
        return ItemFailed(str(error))
    return error
