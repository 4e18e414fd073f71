"""Refusals as HTTP answers: one error body for everything that can go wrong with a request."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mmreward_service.answer import json_response
from mmreward_service.errors import InvalidRequest, NotFound, RefusedError, WrongMethod
from mmreward_service.state import request_id_of


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    response = json_response(error.reply(request_id_of(request)), error.status)
    response.headers.update(error.headers)
    return response


async def refuse_route(request: Request, error: Exception) -> Response:
    """What the router itself says no to, in our words."""
    assert isinstance(error, HTTPException)
    kinds: dict[int, type[RefusedError]] = {404: NotFound, 405: WrongMethod}
    kind = kinds.get(error.status_code, InvalidRequest)
    response = await refuse(request, kind(f"{request.method} is not served at this path"))
    response.headers.update(error.headers or {})
    return response


def install(app: Starlette) -> None:
    app.add_exception_handler(RefusedError, refuse)
    app.add_exception_handler(HTTPException, refuse_route)
