"""A fault put to a good answer: what is then sent, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmreward_client.testing.faults import Fault
from mmreward_client.testing.wire import Response

_FOREVER_S = 86_400.0
_DEFAULT_SLOW_S = 0.5
_DEFAULT_DRIP_S = 0.01

_ERRORS: Mapping[str, tuple[int, str, str]] = {
    "overloaded": (429, "overloaded", "too much is in flight"),
    "not_ready": (503, "unavailable", "the model is being loaded"),
    "deadline": (504, "deadline", "nothing was finished in time"),
    "internal": (500, "internal", "a fault of the service"),
}


def error_response(
    status: int,
    family: str,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error of the whole request, as the contract writes it."""
    detail = {"message": message, "type": family, "param": param, "code": code or family}
    body = json.dumps({"error": detail, "request_id": request_id}).encode()
    return Response(status, (body,), {"Content-Type": "application/json", **(headers or {})})


def instead(fault: Fault | None, request_id: str | None) -> Response | None:
    """The error that is sent instead of an answer; None for any other fault."""
    if fault is None or fault.kind not in _ERRORS:
        return None
    status, family, said = _ERRORS[fault.kind]
    headers = {}
    if status in (429, 503) and fault.retry_after_s is not None:
        # The header knows whole seconds only.
        headers["Retry-After"] = str(-int(-fault.retry_after_s // 1))
    message = f"injected: {said}"
    return error_response(status, family, message, request_id=request_id, headers=headers)


def disorder(fault: Fault | None, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a reply with what the fault does to them."""
    kind = None if fault is None else fault.kind
    if kind == "wrong_length":
        return data[:-1]
    if kind == "wrong_order" and len(data) == 1:
        return [{**data[0], "index": 1}]
    if kind == "wrong_order":
        return [data[1], data[0], *data[2:]]
    if kind == "wrong_id":
        return [{**data[0], "id": "an id that nobody sent"}, *data[1:]]
    return data


def sent(fault: Fault | None, status: int, chunks: tuple[bytes, ...]) -> Response:
    """How a good answer is sent."""
    total = sum(map(len, chunks))
    headers = {"Content-Type": "application/json" if len(chunks) == 1 else "application/x-ndjson"}
    kind = None if fault is None else fault.kind
    seconds = None if fault is None else fault.seconds
    if kind == "malformed":
        chunks = (*chunks[:-1], chunks[-1][: len(chunks[-1]) // 2] + b"\n")
    return Response(
        status,
        chunks,
        headers,
        wait_s=_wait_s(kind, seconds),
        drip_s=(_DEFAULT_DRIP_S if seconds is None else seconds) if kind == "drip" else None,
        send_bytes=_send_bytes(kind, total),
    )


def _wait_s(kind: str | None, seconds: float | None) -> float:
    if kind == "silent":
        return _FOREVER_S if seconds is None else seconds
    if kind == "slow":
        return _DEFAULT_SLOW_S if seconds is None else seconds
    return 0.0


def _send_bytes(kind: str | None, total: int) -> int | None:
    if kind == "drop":
        return 0
    return max(1, total // 2) if kind == "drop_in_body" else None
