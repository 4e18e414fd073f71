"""From the prompts of other trainers to what the service takes: text turns, and pictures beside.

Pictures stand inside of messages as parts, or in a column of their own with `<image>` in the text.
The service takes the pictures of the first user turn; a picture elsewhere, a video, or a
placeholder without its picture is refused: scored without, the reward would be of another question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmreward_client.data.mm_rlhf import without_placeholders
from mmreward_client.errors import InvalidInput
from mmreward_client.images import ImageLike

IMAGE = "<image>"
_ROLES = ("system", "user", "assistant")
_OPENING = "<|im_start|>"
_TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\s*", re.DOTALL)
_GENERATION = re.compile(r"<\|im_start\|>assistant\n(<think>\s*(</think>\s*)?)?")
_QWEN_IMAGE = re.compile(r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>")
_END_OF_TURN = re.compile(r"(?:<\|im_end\|>|<\|endoftext\|>|<\|eot_id\|>|<end_of_turn>|</s>)\s*$")


@dataclass(frozen=True)
class Question:
    """A prompt with its pictures, as `ScoreInput` and `GroupInput` take them."""

    prompt: str | list[dict[str, str]]
    images: tuple[ImageLike, ...] = ()

    def fields(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "images": self.images}


def question_of(messages: str | Iterable[Mapping[str, Any]], images: Any = None) -> Question:
    """A prompt from its messages, without the answer.

    Args:
        messages: a text, or turns with `role` and `content`, a text or a list of parts.
        images: those of a column of their own, in the order of their placeholders.

    Raises:
        InvalidInput: something that the service cannot be shown as it was shown to the policy.
    """
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    beside = _listed(images)
    inside: list[ImageLike] = []
    texts = []
    first_user = next((i for i, turn in enumerate(turns) if turn.get("role") == "user"), None)
    if first_user is None:
        raise InvalidInput("the prompt has no user turn")
    for place, turn in enumerate(turns):
        if turn.get("role") not in _ROLES:
            raise InvalidInput(f"messages[{place}]: a turn of role {turn.get('role')!r:.40}")
        text, found = _parts(turn.get("content"), place)
        if (found or IMAGE in text) and place != first_user:
            raise InvalidInput(f"messages[{place}]: a picture outside of the first user turn")
        inside += found
        texts.append({"role": str(turn["role"]), "content": text})
    pictures = inside or beside
    placeholders = texts[first_user]["content"].count(IMAGE)
    if placeholders and not pictures:
        raise InvalidInput(f"the prompt shows {IMAGE}, and there is no picture")
    if placeholders > len(pictures):
        raise InvalidInput(f"the prompt shows {IMAGE} {placeholders} times, of {len(pictures)}")
    if placeholders and inside and beside:
        raise InvalidInput("pictures inside of the messages and others in a column: which is which")
    if pictures:
        texts[first_user]["content"] = without_placeholders(texts[first_user]["content"])
    prompt = texts[0]["content"] if len(texts) == 1 else texts
    return Question(prompt, tuple(map(image_of, pictures)))


def question_of_template(prompt: str, images: Any = None) -> Question:
    """A prompt that a chat template was applied to: ChatML (Qwen's) is taken apart again.

    Any other text is the question as it stands.

    Raises:
        InvalidInput: ChatML that is not a sequence of turns; as `question_of`.
    """
    if _OPENING not in prompt:
        return question_of(prompt, images)
    rest, turns = prompt, []
    while turn := _TURN.match(rest):
        content = _QWEN_IMAGE.sub(IMAGE, turn[2])
        turns.append({"role": turn[1], "content": content})
        rest = rest[turn.end() :]
    if not turns or not _GENERATION.fullmatch(rest):
        raise InvalidInput("the prompt is no whole sequence of ChatML turns")
    return question_of(turns, images)


def response_of_query(query: str, prompt: str) -> str:
    """The answer in a text that begins with its prompt, without the end of the turn.

    Raises:
        InvalidInput: the text does not begin with the prompt.
    """
    if not query.startswith(prompt):
        raise InvalidInput("a query does not begin with its prompt")
    return _END_OF_TURN.sub("", query[len(prompt) :])


def image_of(value: Any) -> ImageLike:
    """A picture in any form of `images.py`, or as `datasets` stores it: bytes before the path."""
    if isinstance(value, Mapping):
        for name in ("bytes", "image", "path", "url"):
            if value.get(name) is not None:
                return image_of(value[name])
        raise InvalidInput("a picture without bytes, image, path or url")
    if isinstance(value, str):
        return value.removeprefix("file://")
    return value


def _parts(content: Any, place: int) -> tuple[str, list[ImageLike]]:
    if isinstance(content, str):
        return content, []
    if content is None or isinstance(content, Mapping | bytes) or not hasattr(content, "__iter__"):
        raise InvalidInput(f"messages[{place}]: content is {type(content).__name__}")
    texts, images = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind in ("image", "image_url"):
            # A part that is a placeholder alone belongs to a picture of a column of its own.
            found = next((part[name] for name in _IMAGE_KEYS if part.get(name) is not None), None)
            if found is None:
                texts.append(IMAGE)
            else:
                images.append(found)
        else:
            raise InvalidInput(f"messages[{place}]: a part of type {kind!r:.40} cannot be scored")
    return "".join(texts), images


_IMAGE_KEYS = ("bytes", "image", "image_url", "path", "url")


def _listed(images: Any) -> list[ImageLike]:
    if images is None:
        return []
    if isinstance(images, list | tuple):
        return [one for one in images if one is not None]
    # An array of pictures, as pandas gives a list column, or a single picture.
    if str(getattr(images, "dtype", "")) == "object":
        return [one for one in images.tolist() if one is not None]
    return [images]
