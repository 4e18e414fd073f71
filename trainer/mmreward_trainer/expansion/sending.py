"""Many requests under way at once, each reply in the journal before the next is asked for.

An interrupt (Ctrl-C, SIGTERM) sends nothing more and waits for what is under way, which would be
paid for in any case; a second one waits for nothing. A long row of requests that fail without an
answer ends the run: an endpoint that is gone must not look like a hundred thousand bad rows.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmreward_client.errors import InvalidInput

from mmreward_trainer.expansion.endpoint import Endpoint
from mmreward_trainer.expansion.errors import EndpointError, ExpansionError, Interrupted
from mmreward_trainer.expansion.estimate import Selection
from mmreward_trainer.expansion.journal import Journal
from mmreward_trainer.expansion.replies import ANSWERED, Reply, Status
from mmreward_trainer.expansion.requests import Request, requests_of
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.source import Source, row_pairs


@dataclass
class Sent:
    """What a run has sent and used so far.

    Attributes:
        without_usage: answers that did not say how many tokens they took.
        retries: repetitions that led to an answer.
    """

    requests: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    http_statuses: Counter[int] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    without_usage: int = 0
    retries: int = 0

    def add(self, reply: Reply) -> None:
        self.requests += 1
        self.statuses[reply.status] += 1
        self.retries += reply.retries
        if reply.http_status is not None:
            self.http_statuses[reply.http_status] += 1
        usage = reply.usage
        if usage.prompt_tokens is not None and usage.completion_tokens is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
        elif reply.status == "ok" or reply.status in ANSWERED:
            self.without_usage += 1

    def resolved(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        plain = dict(vars(self))
        for name in ("statuses", "http_statuses"):
            plain[name] = dict(plain[name])  # `asdict` breaks counters
        return plain


@dataclass
class Sender:
    """Sends the open requests of a source.

    Attributes:
        stop_after: so many requests in a row without an answer end the run.
        on_reply: called after each reply is in the journal.
    """

    settings: Settings
    endpoint: Endpoint
    journal: Journal
    concurrency: int
    stop_after: int
    on_reply: Callable[[Sent], None]
    sent: Sent = field(default_factory=Sent)
    _unanswered: int = 0
    _stopped: ExpansionError | None = None

    async def send(self, requests: Iterator[Request]) -> None:
        """Ask until the requests are at their end.

        Raises:
            EndpointError: the endpoint serves nobody, or too many in a row had no answer.
            Interrupted: by a signal.
            InvalidInput, OSError: the source or the journal, midway.
        """
        interrupts = self._watch_signals()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.concurrency):
                    group.create_task(self._work(requests))
        except ExceptionGroup as errors:
            # Not `except*`, which would pack what is raised here into a group again.
            for one in errors.exceptions:
                if isinstance(one, InvalidInput | OSError):
                    raise one from None
            raise
        finally:
            loop = asyncio.get_running_loop()
            for number in interrupts:
                loop.remove_signal_handler(number)
        if self._stopped is not None:
            raise self._stopped

    async def _work(self, requests: Iterator[Request]) -> None:
        while self._stopped is None:
            request = next(requests, None)
            if request is None:
                return
            try:
                reply = await self._reply(request)
            except EndpointError as error:
                # Not raised here: the answers that others wait for are paid for.
                self._stopped = error
                return
            self.journal.add(request, reply)
            self.sent.add(reply)
            self.on_reply(self.sent)
            self._count(reply)

    async def _reply(self, request: Request) -> Reply:
        try:
            # Pictures are read and encoded off the event loop.
            body = (
                await asyncio.to_thread(request.body, self.settings)
                if request.pictures
                else request.body(self.settings)
            )
        except InvalidInput as error:
            return Reply("unreadable", reason=str(error))
        return await self.endpoint.ask(body)

    def _count(self, reply: Reply) -> None:
        answered = reply.status == "ok" or reply.status in ANSWERED
        self._unanswered = 0 if answered else self._unanswered + 1
        if self._unanswered >= self.stop_after and self._stopped is None:
            # Not the reason: endpoints like to repeat what they were sent, and that is a prompt.
            http = "" if reply.http_status is None else f" (HTTP {reply.http_status})"
            self._stopped = EndpointError(
                f"{self._unanswered} requests in a row had no answer, the last one: "
                f"{reply.status}{http}; the reasons are in {self.journal.path}"
            )

    def _watch_signals(self) -> list[signal.Signals]:
        """Signals that are now ours; none outside of the main thread and on Windows."""
        loop = asyncio.get_running_loop()
        watched = []
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._interrupt, number)
            except (NotImplementedError, RuntimeError, ValueError):
                break
            watched.append(number)
        return watched

    def _interrupt(self, number: signal.Signals) -> None:
        if isinstance(self._stopped, Interrupted):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.raise_signal(number)
        self._stopped = Interrupted("interrupted")


def open_requests(
    source: Source, settings: Settings, journal: Journal, selection: Selection
) -> Iterator[Request]:
    """The requests that are to be sent, each once, in the order of the file.

    Raises:
        BadRowError, MissingImageError, OSError, InvalidInput: as the reader of the source.
    """
    given: set[str] = set()
    for pair in row_pairs(source.reader()):
        for request in requests_of(pair, settings):
            if request.key in given:
                continue
            if not journal.is_open(request.key, ask_again=selection.ask_again):
                continue
            if len(given) == selection.max_requests:
                return
            given.add(request.key)
            yield request
