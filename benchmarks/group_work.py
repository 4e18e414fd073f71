"""Groups of answers to one question about a photo, and the requests that have them judged.

A photo of `owleval` has up to six models' answers to each of its questions. The group is asked the
photo's first question: its own answers come first, then those to the other questions about the same
photo until there are enough. So groups of 8 are made of photos with two questions or more, groups
of 16 of the three photos that have so many; their further answers are beside the point, which costs
a judge the same. Answers are cut like those of the other benchmarks; equal ones count once.

Every measurement gets the picture with another block of noise in its corner: a new picture to every
cache, as large as the others. Where nothing may be cached every single request does: vLLM (0.32)
cannot be told to forget what its encoder made of a picture that it knows by its contents.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from workload import MAX_RESPONSE_CHARACTERS, drawn_judgements

LONG_DEADLINE_MS = 3_600_000
_BLOCK = 16
"""Pixels of the corner on each side."""


@dataclass(frozen=True)
class AnswerGroup:
    """A picture (as the file's bytes), a question, different answers."""

    id: str
    image: bytes
    prompt: str
    responses: tuple[str, ...]


def groups_of(folder: Path, size: int, count: int) -> list[AnswerGroup]:
    """Up to `count` groups of `size` answers, each about another photo, in the folder's order.

    Raises:
        ValueError: no photo has so many answers.
    """
    photos = _drawn(size, count) if str(folder) == "drawn" else _photos(folder)
    found = [
        AnswerGroup(one.id, one.image, one.prompt, one.responses[:size])
        for one in photos
        if len(one.responses) >= size
    ]
    if not found:
        raise ValueError(f"no photo of {folder} has {size} different answers")
    return found[:count]


def _photos(folder: Path) -> list[AnswerGroup]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "groups.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        rows.setdefault(row["image"], []).append(row)
    return [
        AnswerGroup(
            id=image,
            image=(folder / image).read_bytes(),
            prompt=of_photo[0]["prompt"],
            responses=_different(one["text"] for row in of_photo for one in row["responses"]),
        )
        for image, of_photo in rows.items()
    ]


def _different(texts: Any) -> tuple[str, ...]:
    cut = (text[:MAX_RESPONSE_CHARACTERS].strip() for text in texts)
    return tuple(dict.fromkeys(text for text in cut if text))


def _drawn(size: int, count: int) -> list[AnswerGroup]:
    return [
        AnswerGroup(
            one.id,
            one.image,
            one.prompt,
            tuple(f"{one.response} That makes {number} spots." for number in range(size)),
        )
        for one in drawn_judgements(count)
    ]


def marked(image: bytes, number: int) -> str:
    """The picture with a corner of noise of its own, as a JPEG data URI."""
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    noise = np.random.default_rng(number).integers(0, 256, (_BLOCK, _BLOCK, 3), dtype=np.uint8)
    picture.paste(Image.fromarray(noise), (0, 0))
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def group_request(group: AnswerGroup, number: int, orders: str, max_tokens: int) -> list[str]:
    """The body of one request for the whole group; `number` marks the picture."""
    return [_body(group, marked(group.image, number), list(group.responses), orders, max_tokens)]


def single_requests(
    group: AnswerGroup, numbers: Iterator[int], max_tokens: int, *, one_picture: bool
) -> list[str]:
    """A body for each of the same comparisons: two answers, shown once in the order given.

    Args:
        numbers: of the marks; each request takes one, or all the same with `one_picture`.
    """
    answers = group.responses
    pairs = [(first, second) for first in answers for second in answers if first != second]
    if one_picture:
        pictures = [marked(group.image, next(numbers))] * len(pairs)
    else:
        pictures = [marked(group.image, next(numbers)) for _ in pairs]
    return [
        _body(group, picture, list(pair), "balanced", max_tokens)
        for picture, pair in zip(pictures, pairs, strict=True)
    ]


def _body(
    group: AnswerGroup, image: str, responses: list[str], orders: str, max_tokens: int
) -> str:
    item = {"id": group.id, "images": ["k"], "prompt": group.prompt, "responses": responses}
    request = {"media": {"k": image}, "items": [item], "orders": orders}
    limits = {"max_critique_tokens": max_tokens, "deadline_ms": LONG_DEADLINE_MS}
    return json.dumps({**request, **limits})
