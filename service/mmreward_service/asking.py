"""The way of one question to the engine: pictures, prompt, turn, engine.

An `Asker` belongs to one request and holds what its questions share. Whatever happens to a question
(the deadline, a broken picture, an engine that refuses or dies) ends in `attempt`, as a Failure
with a status, and never touches another question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from mmreward_client.schema import Status, Turn

from mmreward_service.admission import Ticket
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
    ImageUnusable,
    ItemError,
    ItemFailed,
    PastDeadline,
    boundary,
    place,
)
from mmreward_service.intake import Accepted, AnyItem, seconds_left
from mmreward_service.logs import line
from mmreward_service.media import Pictures
from mmreward_service.reward.prompt import PromptError
from mmreward_service.scoring import derive_seed
from mmreward_service.state import Service
from mmreward_service.timings import Stopwatch

log = logging.getLogger(__name__)

T = TypeVar("T")

_LATE = "not finished before the deadline"
_LONG_TEXT = 20_000
"""Characters from which tokenising is worth a thread: a few milliseconds."""


@dataclass(frozen=True)
class Failure:
    """Why a question has no answer."""

    status: Status
    error: str


class Asker:
    """What the questions of one request share, and what has been seen of them."""

    def __init__(
        self,
        service: Service,
        accepted: Accepted,
        ticket: Ticket,
        pictures: Pictures,
        stopwatch: Stopwatch,
        request_id: str,
    ) -> None:
        self.service = service
        self.accepted = accepted
        self.ticket = ticket
        self.usage = TokenUsage()
        self.reached_engine = False
        self.deadline_passed = False
        self.engine_stopped = False
        self._pictures = pictures
        self.stopwatch = stopwatch
        self._request_id = request_id
        self._flow = service.queue.flow()

    async def attempt(self, work: Callable[[], Awaitable[T]], permits: int = 0) -> T | Failure:
        """The result of `work`, if it comes before the deadline and nothing goes wrong.

        Afterwards its permits are given back.
        """
        try:
            async with asyncio.timeout(seconds_left(self.accepted.deadline)):
                with self._failures_of_an_item():
                    if seconds_left(self.accepted.deadline) <= 0:
                        raise PastDeadline(_LATE)
                    return await work()
        except TimeoutError:
            self.deadline_passed = True
            return Failure("deadline", _LATE)
        except ItemError as error:
            self.deadline_passed |= error.status == "deadline"
            return Failure(error.status, str(error))
        except PromptTooLong as error:
            return Failure("too_long", str(error))
        except EngineDead as error:
            self.engine_stopped = True
            self.service.readiness.engine_stopped = True
            return Failure("internal", str(error))
        finally:
            self.ticket.release(permits)

    @asynccontextmanager
    async def media(self, item: AnyItem) -> AsyncIterator[Media]:
        """The decoded pictures of an item, whose pixels are held from the budget meanwhile."""
        budget = self.service.decoder.budget
        async with AsyncExitStack() as held:
            with self.stopwatch.stage("decode"):
                payloads = await self._pictures.payloads(item.images, item.video)
                pixels = sum(payload.pixels for payload in payloads)
                if pixels > budget.limit:
                    raise ImageUnusable(
                        f"{pixels} pixels in all, max_pixels_in_flight is {budget.limit}"
                    )
                with self.stopwatch.stage("queue"):
                    await held.enter_async_context(budget.hold(pixels))
                media = await self._pictures.media(payloads, item.video)
            yield media

    async def prompt(
        self,
        render: Callable[[], list[int]],
        prompt: str | list[Turn],
        *texts: str,
        siblings: int = 1,
    ) -> list[int]:
        """What `render` makes of a prompt and texts, in a thread where they are long.

        Args:
            siblings: prompts of this size that are rendered in the same turn of the event loop.
        """
        size = len(prompt) if isinstance(prompt, str) else sum(len(t.content) for t in prompt)
        with self.stopwatch.stage("prompt"):
            if (size + sum(map(len, texts))) * siblings < _LONG_TEXT:
                return render()
            return await self.service.decoder.in_thread(self.stopwatch, render)

    async def critique(self, ids: list[int], media: Media) -> Outcome:
        """K critiques and their scores."""
        tag = self._flow.next_tag(self.accepted.critiques)
        answer = self.service.engine.critique(self._job(ids, media, tag))
        return await self._ask(tag, answer, self.accepted.critiques)

    async def write(self, ids: list[int], media: Media) -> Outcome:
        """K texts."""
        tag = self._flow.next_tag(self.accepted.critiques)
        answer = self.service.engine.write(self._job(ids, media, tag))
        return await self._ask(tag, answer, self.accepted.critiques)

    async def read(self, ids: list[int], media: Media) -> Outcome:
        """One score at the end of the prompt."""
        tag = self._flow.next_tag()
        return await self._ask(tag, self.service.engine.read(ReadJob(ids, media, tag)), 1)

    def _job(self, ids: list[int], media: Media, tag: int) -> CritiqueJob:
        accepted = self.accepted
        return CritiqueJob(
            prompt_token_ids=ids,
            media=media,
            max_tokens=accepted.max_tokens,
            critiques=accepted.critiques,
            temperature=accepted.temperature,
            seed=derive_seed(accepted.seed, ids),
            priority=tag,
        )

    async def _ask(self, tag: int, answer: Awaitable[Outcome], critiques: int) -> Outcome:
        self.reached_engine = True
        with self.stopwatch.stage("engine"), self.service.watch.question(critiques):
            outcome = await answer
        self._flow.finished(tag)
        self.usage += outcome.usage
        self.service.metrics.quality.usage(outcome.usage)
        return outcome

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
        log.error(line("item_failed", request_id=self._request_id, error=name, at=place(error)))
        return ItemFailed(f"{name}, see the log of request {self._request_id}")


def _in_our_words(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):  # an engine that runs the parts of a job side by side
        return _in_our_words(error.exceptions[0])
    if isinstance(error, ImageRefused):
        return ImageUnusable(str(error))
    if isinstance(error, PromptError):
        return ItemFailed(str(error))
    return error
