"""From a run to an HTTP answer: one JSON document, or a line per item as it is finished."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from mmreward_client.schema import (
    GroupsReply,
    GroupsRequest,
    PairsReply,
    PairsRequest,
    ScoreReply,
    ScoreRequest,
)
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mmreward_service.errors import CallerHungUp, RefusedError
from mmreward_service.hangup import unless_hung_up
from mmreward_service.intake import AnyRequest, parse_body
from mmreward_service.pipeline import Result, Run
from mmreward_service.state import request_id_of, service_of

RequestT = TypeVar("RequestT", bound=BaseModel)

NDJSON = "application/x-ndjson"
KEEP_ALIVE_S = 15.0
"""Balancers cut what says nothing for a minute; a group of many comparisons takes longer."""

_REPLIES: dict[type[AnyRequest], type[BaseModel]] = {
    ScoreRequest: ScoreReply,
    PairsRequest: PairsReply,
    GroupsRequest: GroupsReply,
}


async def read_request(request: Request, kind: type[RequestT]) -> RequestT:
    """The valid body. Its bytes are let go of here: they may hold many megabytes of pictures."""
    service_of(request).readiness.raise_if_scores_are_refused()
    try:
        return parse_body(kind, b"".join([chunk async for chunk in request.stream()]))
    except ClientDisconnect as error:
        raise CallerHungUp from error


async def answer(request: Request, body: AnyRequest) -> Response:
    """Serve a scoring request in the form that its Accept header asks for."""
    run = Run(service_of(request), body, request_id_of(request))
    if NDJSON in request.headers.get("accept", ""):
        return ItemLines(run, request)
    results = await collect(request, run)
    summary = run.summary()
    return json_response(_REPLIES[type(body)](**vars(summary), data=results))


async def collect(request: Request, run: Run) -> list[Result]:
    """All results in request order.

    Raises:
        DeadlineExceeded, EngineStopped: the request as a whole came to nothing.
    """
    results: dict[int, Result] = {}

    async def keep(result: Result) -> None:
        results[result.index] = result

    with run.ticket:
        await unless_hung_up(request.receive, run.serve(keep))
    note(request, run, list(results.values()))
    run.raise_if_nothing_was_served()
    return [results[index] for index in sorted(results)]


def json_response(reply: BaseModel, status: int = 200) -> Response:
    return Response(reply.model_dump_json(), status, media_type="application/json")


def note(request: Request, run: Run, results: list[Result]) -> None:
    """What the line of the access log says about a scoring request."""
    timings = run.stopwatch.timings()
    request.state.log_fields = {
        "items": len(results),
        "ok": sum(result.status == "ok" for result in results),
        "queue_s": timings.queue_s,
        "decode_s": timings.decode_s,
        "prompt_s": timings.prompt_s,
        "engine_s": timings.engine_s,
        "parse_s": run.stopwatch.longest_s["parse"],
        "prompt_tokens": run.asker.usage.prompt_tokens,
        "completion_tokens": run.asker.usage.completion_tokens,
    }


class LastLine(BaseModel):
    """The end of a stream: a reply without its items. Its `object` tells it from an item."""

    object: str = "list"
    id: str
    model: str
    provenance: dict[str, Any]
    usage: dict[str, Any]
    timings: dict[str, Any]


class ItemLines(Response):
    """Each item as a line when it is finished, then a line with everything else.

    In between there is an empty line every so often, so that the stream is never silent for long.
    The status is on its way before the first item is finished, so a deadline or an engine that
    stops is reported by each item from here on, and counted as it is without a stream.
    """

    media_type = NDJSON

    def __init__(self, run: Run, request: Request) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.run = run
        self.request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.run.ticket:
            await unless_hung_up(receive, self._write(send))

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        one_at_a_time = asyncio.Lock()
        results: list[Result] = []

        async def write(result: Result) -> None:
            results.append(result)
            async with one_at_a_time:
                await _write_line(send, result.model_dump_json().encode())

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(KEEP_ALIVE_S)
                async with one_at_a_time:
                    await _write_line(send, b"")

        ticking = asyncio.create_task(keep_alive())
        try:
            await self.run.serve(write)
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
        summary = self.run.summary()
        note(self.request, self.run, results)
        self._note_status_in_the_end()
        last = LastLine(
            id=summary.id,
            model=summary.model,
            provenance=summary.provenance.model_dump(),
            usage=summary.usage.model_dump(),
            timings=summary.timings.model_dump(),
        )
        await _write_line(send, last.model_dump_json().encode())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _note_status_in_the_end(self) -> None:
        """For log and metrics: what the one document would have been refused with, if with any."""
        try:
            self.run.raise_if_nothing_was_served()
        except RefusedError as error:
            self.request.state.status_in_the_end = error.status


async def _write_line(send: Send, line: bytes) -> None:
    await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
