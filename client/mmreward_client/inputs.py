"""Items as a caller holds them, and their wire form.

An item may be a mapping with the wire's field names, a wire model, one of the dataclasses below
or anyone else's dataclass with such fields. What the service checks item by item (empty response,
missing critique, wrong type of a field) is not checked here: such an item comes back as `invalid`
and the others get their scores. Only what cannot be sent at all raises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmreward_client.errors import InvalidInput
from mmreward_client.images import ImageLike, MediaTable, VideoLike
from mmreward_client.schema import Mode


@dataclass(frozen=True)
class ScoreInput:
    """One response to score; `images` in any form that `images.py` knows."""

    prompt: str | Sequence[Mapping[str, str]]
    response: str
    images: Sequence[ImageLike] = ()
    video: VideoLike | None = None
    id: str | None = None
    mode: Mode = "generate"
    critique: str | None = None


@dataclass(frozen=True)
class PairInput:
    """Two responses to one prompt, the first of them preferred."""

    prompt: str | Sequence[Mapping[str, str]]
    chosen: str
    rejected: str
    images: Sequence[ImageLike] = ()
    video: VideoLike | None = None
    id: str | None = None
    mode: Mode = "generate"
    chosen_critique: str | None = None
    rejected_critique: str | None = None

    def swap(self) -> PairInput:
        """The same pair the other way round: its delta is the negative of this one's."""
        return replace(
            self,
            chosen=self.rejected,
            rejected=self.chosen,
            chosen_critique=self.rejected_critique,
            rejected_critique=self.chosen_critique,
        )


@dataclass(frozen=True)
class GroupInput:
    """Responses to one prompt that are compared with each other.

    `complete` says which of them are whole, one entry per response; None: all of them.
    """

    prompt: str | Sequence[Mapping[str, str]]
    responses: Sequence[str]
    complete: Sequence[bool] | None = None
    images: Sequence[ImageLike] = ()
    video: VideoLike | None = None
    id: str | None = None


def wire_items(
    items: Iterable[Any], media: MediaTable, *, relative_to: Path | None = None
) -> list[dict[str, Any]]:
    """Items with their images moved into `media`.

    Raises:
        InvalidInput: with the index of the item that cannot be sent.
    """
    wired = []
    # A list first: a generator that reuses one pixel buffer would change a picture that the
    # media table has already seen.
    for index, item in enumerate(list(items)):
        try:
            wired.append(wire_item(item, media, relative_to=relative_to))
        except InvalidInput as error:
            raise InvalidInput(f"item {index}: {error}") from error
    if not wired:
        raise InvalidInput("no items to score")
    return wired


def wire_item(item: Any, media: MediaTable, *, relative_to: Path | None = None) -> dict[str, Any]:
    """One item; fields that are None are left out, as the service means the same by both."""
    fields = {name: value for name, value in _fields(item).items() if value is not None}
    images = fields.pop("images", ())
    video = fields.pop("video", None)
    if not isinstance(images, list | tuple):
        images = [images]  # a single picture; an array of pixels must not be taken for a list
    keys = [media.add(image, relative_to=relative_to) for image in images]
    if keys:
        fields["images"] = keys
    if video is not None:
        fields["video"] = media.add_video(video, relative_to=relative_to)
    prompt = fields.get("prompt")
    if isinstance(prompt, Sequence) and not isinstance(prompt, str):
        fields["prompt"] = [t.model_dump() if isinstance(t, BaseModel) else t for t in prompt]
    complete = fields.get("complete")
    if complete is not None and hasattr(complete, "tolist"):
        fields["complete"] = complete.tolist()  # a mask of numpy or torch
    return fields


def _fields(item: Any) -> dict[str, Any]:
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    if isinstance(item, BaseModel):
        return dict(item)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    raise InvalidInput(f"{type(item).__name__} is no item: give a mapping or a dataclass")
