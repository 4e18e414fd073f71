"""What goes over the wire and what comes back: build a call, read its answer. No I/O.

Both clients use these functions, so they cannot differ in what they send or believe. A reply is
believed only if it fits the schema, holds one entry per item, entry i at place i, with the id it
was sent with, and comes from the pinned fingerprint if there is a pin; a group moreover has to fit
its responses (`group_check.py`). Anything else raises: a score that lands on the wrong response is
worse than none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar, cast

from pydantic import BaseModel, ValidationError

from mmreward_client.errors import (
    ApiError,
    InvalidInput,
    PinMismatch,
    ProtocolError,
    error_class,
)
from mmreward_client.group_check import GroupCheck
from mmreward_client.images import MediaTable
from mmreward_client.inputs import wire_items
from mmreward_client.pinning import FIRST
from mmreward_client.retry import retry_after_s
from mmreward_client.schema import (
    Aggregate,
    Beta,
    ErrorReply,
    GroupResult,
    GroupsReply,
    Kind,
    Orders,
    PairResult,
    PairsReply,
    ScoreReply,
    ScoreResult,
    describe,
)

ReplyT = TypeVar("ReplyT", bound=ScoreReply | PairsReply | GroupsReply)
ResultT = TypeVar("ResultT", bound=ScoreResult | PairResult | GroupResult)
ModelT = TypeVar("ModelT", bound=BaseModel)


class Options(TypedDict, total=False):
    """Keyword options of every scoring call; what is left out takes the service's default."""

    model: str | None
    critiques: int
    temperature: float | None
    seed: int | None
    max_critique_tokens: int | None
    pin: str | None
    timeout_s: float | None


Opponents = Literal["all"] | int
"""Of each response of a group: all the others, or so many in a ring."""


@dataclass(frozen=True)
class Call(Generic[ReplyT, ResultT]):
    """One scoring call, ready to be sent any number of times.

    Attributes:
        check: what more a result of this call has to be; returns it, or raises ProtocolError.
    """

    path: str
    body: bytes
    ids: tuple[Any, ...]
    reply_kind: type[ReplyT]
    result_kind: type[ResultT]
    pin: str | None
    check: Callable[[ResultT], ResultT] = field(default=lambda result: result, compare=False)

    def content(self, remaining_s: float) -> bytes:
        """The body with the service's deadline; the rest of it is encoded once for all attempts.

        The service is given a little less time than is left here: what it has scored by then
        must still arrive before this side stops listening.
        """
        way_back_s = min(0.2 * remaining_s, 5.0)
        deadline_ms = max(1, int((remaining_s - way_back_s) * 1000))
        return self.body[:-1] + b', "deadline_ms": %d}' % deadline_ms


def score_call(
    items: Iterable[Any], options: Options, *, pin: str | None
) -> Call[ScoreReply, ScoreResult]:
    return _call("/v1/score", ScoreReply, ScoreResult, items, options, pin, {})


def pairs_call(
    items: Iterable[Any],
    options: Options,
    *,
    pin: str | None,
    beta: Beta | Mapping[str, Any] | None,
    kind: Kind | None = None,
) -> Call[PairsReply, PairResult]:
    extra = {"beta": None if beta is None else dict(beta), "kind": kind}
    return _call("/v1/pairs", PairsReply, PairResult, items, options, pin, extra)


def groups_call(
    items: Iterable[Any],
    options: Options,
    *,
    pin: str | None,
    orders: Orders | None = None,
    comparisons: Opponents | None = None,
    aggregate: Aggregate | None = None,
) -> Call[GroupsReply, GroupResult]:
    extra = {"orders": orders, "comparisons": comparisons, "aggregate": aggregate}
    kinds = (GroupsReply, GroupResult)
    return _call("/v1/groups", *kinds, items, options, pin, extra, GroupCheck.of)


def _call(
    path: str,
    reply_kind: type[ReplyT],
    result_kind: type[ResultT],
    items: Iterable[Any],
    options: Options,
    pin: str | None,
    extra: dict[str, Any],
    check_of: Callable[[Sequence[dict[str, Any]]], Callable[[ResultT], ResultT]] | None = None,
) -> Call[ReplyT, ResultT]:
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    media = MediaTable()
    wired = wire_items(items, media)
    if options.get("pin") == FIRST:
        raise InvalidInput("pin='first' is for a client, which remembers; give a fingerprint here")
    pin = options.get("pin") or pin
    body: dict[str, Any] = {"media": media.entries, "items": wired, "pin": pin, **extra}
    for name, value in options.items():
        if name not in {"timeout_s", "pin"}:
            body[name] = value
    body = {name: value for name, value in body.items() if value is not None}
    try:
        encoded = json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the request cannot be written as JSON: {error}") from error
    ids = tuple(item.get("id") for item in wired)
    call = Call(path, encoded, ids, reply_kind, result_kind, pin)
    return call if check_of is None else replace(call, check=check_of(wired))


def parse_reply(call: Call[ReplyT, Any], content: bytes) -> ReplyT:
    """The reply of a 2xx answer.

    Raises:
        ProtocolError: not the shape, not the length, not the order that the contract promises, or
            a group that is not the one that was sent.
        PinMismatch: the answer came from another model than the pinned one.
    """
    reply = parse_model(call.reply_kind, content)
    if len(reply.data) != len(call.ids):
        raise ProtocolError(f"{len(call.ids)} items sent, {len(reply.data)} entries came back")
    results: list[Any] = []
    came: Sequence[Any] = reply.data
    for place, result in enumerate(came):
        if result.index != place:
            raise ProtocolError(f"entry with index {result.index} at place {place}")
        results.append(checked(call, result))
    check_pin(call, reply)
    return cast(ReplyT, reply.model_copy(update={"data": results}))


def checked(call: Call[Any, ResultT], result: ResultT) -> ResultT:
    """The result, if it is the one of its item.

    Raises:
        ProtocolError: it has another id, or does not fit what was sent.
    """
    sent = call.ids[result.index]
    # An id that is no string makes its item invalid; the service cannot echo it.
    if isinstance(sent, str | None) and result.id != sent:
        raise ProtocolError(f"entry {result.index} has id {result.id!r}, sent was {sent!r}")
    return call.check(result)


def check_pin(call: Call[Any, Any], reply: ScoreReply | PairsReply | GroupsReply) -> None:
    found = reply.provenance.fingerprint
    if call.pin is not None and found != call.pin:
        raise PinMismatch(
            f"pinned to fingerprint {call.pin}, the reply is from {found}", code="pin_mismatch"
        )


def parse_model(kind: type[ModelT], content: bytes) -> ModelT:
    """A reply body as its model.

    Raises:
        ProtocolError: it is not JSON or not of this shape.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ProtocolError(f"unreadable {kind.__name__}: {describe(error)}") from error


def parse_object(content: bytes) -> dict[str, Any]:
    """A reply body that is any JSON object."""
    try:
        body = json.loads(content)
    except ValueError as error:
        raise ProtocolError(f"not JSON: {content[:80]!r}") from error
    if not isinstance(body, dict):
        raise ProtocolError(f"{type(body).__name__} where an object was expected")
    return body


def parse_error(
    status: int, headers: Mapping[str, str], content: bytes, *, request_id: str | None = None
) -> ApiError | ProtocolError:
    """The exception for an answer that is not 2xx.

    A proxy in between answers in its own words and keeps the class of its status. But a redirect,
    or a 404 without the contract's error body, means that this address is not the service.
    """
    request_id = headers.get("x-request-id") or request_id
    try:
        reply = ErrorReply.model_validate_json(content)
    except ValidationError:
        text = " ".join(content.decode("utf-8", "replace").split())[:200]
        if status < 400 or status == 404:
            return ProtocolError(f"HTTP {status} is no answer of the service: {text!r}")
        return error_class(status)(
            text or "an answer without a body",
            status=status,
            request_id=request_id,
            retry_after_s=retry_after_s(headers),
        )
    return error_class(status, code=reply.error.code)(
        reply.error.message,
        status=status,
        code=reply.error.code or reply.error.type,
        param=reply.error.param,
        request_id=reply.request_id or request_id,
        retry_after_s=retry_after_s(headers),
    )
