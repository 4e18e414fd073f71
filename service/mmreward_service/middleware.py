"""The outermost layers of every request, as plain ASGI: id, log line, metrics, and size of body."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmreward_service.answer import json_response
from mmreward_service.errors import CallerHungUp, InternalError, TooLarge, boundary, place
from mmreward_service.logs import line
from mmreward_service.metrics import Metrics, Outcome

log = logging.getLogger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HUNG_UP = 499
_PROBES = ("/health", "/ready", "/metrics")
"""Asked every few seconds by machines: their lines would bury the others."""


class RequestContext:
    """Names the request, answers for what nobody else caught, writes its log line and metrics.

    Where an answer fails after its first byte, the status that was sent is no longer what became of
    the request. What it would have been is left in the state as `status_in_the_end`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        request_id = _request_id(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        cut_off = True
        try:
            with boundary(InternalError.of):
                await self.app(scope, receive, send_with_id)
            cut_off = False
        except CallerHungUp:
            pass
        except InternalError as error:
            cut_off = False
            cause = error.__cause__ or error
            log.error(
                line("fault", request_id=request_id, error=type(cause).__name__, at=place(cause))
            )
            if status is not None:
                state["status_in_the_end"] = error.status
                raise  # half an answer is out: the server has to break the connection
            await json_response(error.reply(request_id), 500)(scope, receive, send_with_id)
        finally:
            code = _HUNG_UP if cut_off else state.get("status_in_the_end") or status or 500
            self._record(scope, request_id, code, time.monotonic() - began)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = _route(scope)
        outcome = _outcome(status)
        key = scope["state"].get("key_name")
        self.metrics.traffic.request(route, outcome, seconds, request_id, key)
        fields: dict[str, Any] = scope["state"].get("log_fields", {})
        log.log(
            logging.DEBUG if route in _PROBES else logging.INFO,
            line(
                "request",
                request_id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                outcome=outcome,
                seconds=seconds,
                **fields,
            ),
        )


class BodyLimit:
    """Refuses a body that is too large: by its Content-Length, else while it is being read.

    The refusal is raised where the body is read, so that it becomes an answer like all others.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        read = 0

        async def counted() -> Message:
            nonlocal read
            if declared.isdecimal():
                self._check(int(declared))
            message = await receive()
            read += len(message.get("body", b""))
            self._check(read)
            return message

        await self.app(scope, counted, send)

    def _check(self, size: int) -> None:
        if size > self.max_body_bytes:
            raise TooLarge(
                f"the body has {size} bytes or more, max_body_bytes is {self.max_body_bytes}",
                code="max_body_bytes",
            )


def _request_id(headers: Headers) -> str:
    """The caller's id if it is harmless in a log line and a header, else one of ours."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The template, never the path: a label must not grow with what callers type."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"


def _outcome(status: int) -> Outcome:
    by_status: dict[int, Outcome] = {429: "overloaded", 504: "deadline", _HUNG_UP: "cancelled"}
    if status in by_status:
        return by_status[status]
    return "ok" if status < 400 else "invalid" if status < 500 else "error"
