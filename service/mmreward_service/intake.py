"""What must hold before any work is done: envelope, kind, model, pin and limits, then item by item.

A broken envelope refuses the request; a broken item is kept as the sentence that says why, and the
others are served.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeVar

from mmreward_client.schema import (
    GroupItem,
    GroupsRequest,
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
from mmreward_service.reward.spec import Kind, RewardSpec
from mmreward_service.settings import Settings

BodyT = TypeVar("BodyT", bound=BaseModel)
AnyRequest = ScoreRequest | PairsRequest | GroupsRequest
AnyItem = ScoreItem | PairItem | GroupItem

_ITEMS: dict[type[AnyRequest], type[AnyItem]] = {
    ScoreRequest: ScoreItem,
    PairsRequest: PairItem,
    GroupsRequest: GroupItem,
}


@dataclass(frozen=True)
class Parsed:
    """One entry of `items`: an item of the request's class, or what is wrong with it.

    `responses` counts those of a group, broken or not: its lists have one entry for each, always.
    """

    index: int
    id: str | None
    item: AnyItem | str
    responses: int = 0


@dataclass(frozen=True)
class Accepted:
    """A request that will be served, with its nulls filled in."""

    items: list[Parsed]
    kind: Kind
    critiques: int
    temperature: float
    seed: int | None
    max_tokens: int
    deadline: float
    """On the clock of time.monotonic()."""

    @property
    def good(self) -> list[AnyItem]:
        return [one.item for one in self.items if not isinstance(one.item, str)]


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


def accept(request: AnyRequest, engine: Engine, settings: Settings, began: float) -> Accepted:
    """Check a request against model, kind, pin and limits, and parse its items."""
    check_model(request.model, engine)
    kind = kind_of(request, engine.spec)
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
    own = min(engine.spec.max_tokens(kind), settings.max_critique_tokens)
    return Accepted(
        items=[_parse(i, raw, kind, request, settings) for i, raw in enumerate(request.items)],
        kind=kind,
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


def kind_of(request: AnyRequest, spec: RewardSpec) -> Kind:
    """What the model is asked to be.

    Raises:
        InvalidRequest: the checkpoint is not that.
    """
    asked: Kind | None = None
    if isinstance(request, ScoreRequest):
        asked, what = "critique", "scores of single responses need"
    elif isinstance(request, GroupsRequest):
        asked, what = "judge", "comparisons of a group need"
    else:
        asked, what = request.kind, "this request asks for"
    kind: Kind = asked or ("critique" if "critique" in spec.kinds else "judge")
    if kind not in spec.kinds:
        raise InvalidRequest(
            f"{what} a model of kind {kind!r}; this one is {' and '.join(map(repr, spec.kinds))}",
            code="kind",
            param="kind" if isinstance(request, PairsRequest) else None,
        )
    return kind


def seconds_left(deadline: float) -> float:
    return deadline - time.monotonic()


def _at_most(param: str, value: int, name: str, limit: int) -> None:
    if value > limit:
        raise InvalidRequest(f"{param} is {value}, {name} is {limit}", code=name, param=param)


def _parse(
    index: int,
    raw: object,
    kind: Kind,
    request: AnyRequest,
    settings: Settings,
) -> Parsed:
    id_ = raw.get("id") if isinstance(raw, dict) else None
    item = parse_item(_ITEMS[type(request)], raw)
    if not isinstance(item, str) and (broken := _broken_rule(item, kind, request, settings)):
        item = broken
    responses = raw.get("responses") if isinstance(raw, dict) else None
    count = len(responses) if isinstance(responses, list) else 0
    return Parsed(index, id_ if isinstance(id_, str) else None, item, count)


def _broken_rule(item: AnyItem, kind: Kind, request: AnyRequest, settings: Settings) -> str | None:
    """Rules of an item that the schema cannot know."""
    if not isinstance(item, GroupItem) and item.mode != "generate":
        if kind == "judge":
            return f"mode is {item.mode}: a judge writes its judgements itself, mode generate"
        if request.critiques > 1:
            return f"critiques is {request.critiques}: mode {item.mode} reads one score only"
    if len(item.images) > settings.max_images_per_item:
        return f"{len(item.images)} images, max_images_per_item is {settings.max_images_per_item}"
    frames = 0 if item.video is None else len(item.video.frames)
    if frames > settings.max_frames_per_item:
        return f"{frames} frames, max_frames_per_item is {settings.max_frames_per_item}"
    return None
