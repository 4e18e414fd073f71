"""What must hold before any work is done: envelope, model, pin and limits, then item by item.

A broken envelope refuses the request; a broken item is kept as the sentence that says why, and the
others are served.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Generic, TypeVar

from mmreward_client.schema import (
    PairItem,
    PairsRequest,
    ScoreItem,
    ScoreRequest,
    describe,
    parse_item,
)
from pydantic import BaseModel, ValidationError

from mmreward_service.engine.protocol import Engine
from mmreward_service.errors import (
    InvalidRequest,
    MalformedJson,
    PinMismatch,
    TooLarge,
    UnknownModel,
)
from mmreward_service.settings import Settings

BodyT = TypeVar("BodyT", bound=BaseModel)
ItemT = TypeVar("ItemT", ScoreItem, PairItem)


@dataclass(frozen=True)
class Parsed(Generic[ItemT]):
    """One entry of `items`: an item, or what is wrong with it."""

    index: int
    id: str | None
    item: ItemT | str


@dataclass(frozen=True)
class Accepted(Generic[ItemT]):
    """A request that will be served, with its nulls filled in."""

    items: list[Parsed[ItemT]]
    critiques: int
    temperature: float
    seed: int | None
    max_tokens: int
    deadline: float
    """On the clock of time.monotonic()."""

    @property
    def good(self) -> int:
        return sum(not isinstance(parsed.item, str) for parsed in self.items)


def parse_body(kind: type[BodyT], body: bytes) -> BodyT:
    """Validate a body.

    In the event loop, on purpose: the parser keeps Python's lock, a thread would gain nothing.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedJson(first["msg"]) from error
        where = ".".join(str(part) for part in first["loc"]) or None
        raise InvalidRequest(describe(error), param=where) from error


def accept(
    request: ScoreRequest | PairsRequest,
    kind: type[ItemT],
    engine: Engine,
    settings: Settings,
    began: float,
) -> Accepted[ItemT]:
    """Check a request against model, pin and limits, and parse its items."""
    check_model(request.model, engine)
    fingerprint = engine.provenance["fingerprint"]
    if request.pin is not None and request.pin != fingerprint:
        raise PinMismatch(
            f"pinned to {request.pin[:80]!r}, this service is {fingerprint!r}", param="pin"
        )
    if len(request.items) > settings.max_items:
        raise TooLarge(
            f"{len(request.items)} items, max_items is {settings.max_items}",
            code="max_items",
            param="items",
        )
    _at_most("critiques", request.critiques, "max_critiques", settings.max_critiques)
    _at_most(
        "max_critique_tokens",
        request.max_critique_tokens or 1,
        "max_critique_tokens",
        settings.max_critique_tokens,
    )
    max_deadline_ms = int(settings.max_deadline_s * 1000)
    deadline_ms = request.deadline_ms or int(settings.default_deadline_s * 1000)
    _at_most("deadline_ms", deadline_ms, "max_deadline_ms", max_deadline_ms)
    own = min(engine.spec.max_critique_tokens, settings.max_critique_tokens)
    return Accepted(
        items=[_parse(i, raw, kind, request, settings) for i, raw in enumerate(request.items)],
        critiques=request.critiques,
        temperature=request.sampling_temperature,
        seed=request.seed,
        max_tokens=request.max_critique_tokens or own,
        deadline=began + deadline_ms / 1000,
    )


def check_model(model: str | None, engine: Engine) -> None:
    if model is not None and model != engine.model_name:
        raise UnknownModel(
            f"model {model[:80]!r} is not served, {engine.model_name!r} is", param="model"
        )


def seconds_left(deadline: float) -> float:
    return deadline - time.monotonic()


def _at_most(param: str, value: int, name: str, limit: int) -> None:
    if value > limit:
        raise InvalidRequest(f"{param} is {value}, {name} is {limit}", code=name, param=param)


def _parse(
    index: int,
    raw: object,
    kind: type[ItemT],
    request: ScoreRequest | PairsRequest,
    settings: Settings,
) -> Parsed[ItemT]:
    id_ = raw.get("id") if isinstance(raw, dict) else None
    item = parse_item(kind, raw)
    if not isinstance(item, str) and (broken := _broken_rule(item, request, settings)):
        item = broken
    return Parsed(index, id_ if isinstance(id_, str) else None, item)


def _broken_rule(
    item: ScoreItem | PairItem, request: ScoreRequest | PairsRequest, settings: Settings
) -> str | None:
    """Rules of an item that the schema cannot know."""
    if request.critiques > 1 and item.mode != "generate":
        return f"critiques is {request.critiques}: mode {item.mode} reads one score only"
    if len(item.images) > settings.max_images_per_item:
        return f"{len(item.images)} images, max_images_per_item is {settings.max_images_per_item}"
    frames = 0 if item.video is None else len(item.video.frames)
    if frames > settings.max_frames_per_item:
        return f"{frames} frames, max_frames_per_item is {settings.max_frames_per_item}"
    return None
