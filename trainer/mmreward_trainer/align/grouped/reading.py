"""What TRL hands to a reward function -> what the service is asked about.

Prompts come as texts or as chat messages, and with pictures TRL has put these into the messages
beside the column that held them. The service takes the texts alone, without the chat template of
the policy, and the pictures beside them; they belong to the first user turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmreward_client.images import identity_of

Prompt = str | list[dict[str, str]]
_ROLES = ("system", "user", "assistant")


class UnreadablePrompt(ValueError):
    """A prompt or completion that the service cannot be asked about; the message says what."""


@dataclass(frozen=True)
class Completion:
    """One completion of one prompt.

    Attributes:
        images: in any form that the client takes.
        is_complete: whether it came to its end; False if it was cut at the length limit.
        tokens: its length.
        answer: what is known to be right of this prompt; None where nothing is.
        key: tells one prompt with its pictures from another, on all processes alike.
    """

    prompt: Prompt
    images: Sequence[Any] = field(repr=False)
    response: str
    is_complete: bool
    tokens: int
    answer: Any
    key: str


@dataclass(frozen=True)
class Ending:
    """How a completion that was cut is told from one that ended.

    With `end_token_ids` its last token decides, as in TRL. Otherwise one that fills
    `max_completion_length` counts as cut.

    Raises:
        ValueError: neither is given: then nothing would ever be cut.
    """

    end_token_ids: Collection[int] | None = None
    max_completion_length: int | None = None

    def __post_init__(self) -> None:
        if not self.end_token_ids and self.max_completion_length is None:
            raise ValueError(
                "say how a completion that was cut is recognised: end_token_ids (those of the "
                "policy's tokenizer) or max_completion_length (that of GRPOConfig)"
            )

    def is_complete(self, ids: Sequence[int]) -> bool:
        if self.end_token_ids:
            return bool(ids) and ids[-1] in self.end_token_ids
        assert self.max_completion_length is not None
        return len(ids) < self.max_completion_length


def read_completions(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    columns: Mapping[str, Any],
    ending: Ending,
    *,
    prompt_column: str | None = None,
    answer_column: str = "answer",
) -> list[Completion]:
    """The rows of one call of a reward function, in order.

    Args:
        columns: the columns of the data set, each a list with an entry per completion.
        prompt_column: holds the question where `prompts` are not it, as where a chat template was
            applied to the data set.

    Raises:
        UnreadablePrompt: a message without text, pictures in a later turn, no such column.
    """
    if prompt_column is not None and prompt_column not in columns:
        raise UnreadablePrompt(f"prompt_column: the data set has no column {prompt_column!r}")
    asked = prompts if prompt_column is None else columns[prompt_column]
    answers = columns.get(answer_column) or [None] * len(prompts)
    # One picture object of many completions is hashed once; beside its digest it stays alive, so
    # that no other object gets its id.
    digests: dict[int, tuple[Any, str]] = {}
    rows = []
    for i, (prompt, completion, ids) in enumerate(
        zip(asked, completions, completion_ids, strict=True)
    ):
        images = _images(prompts[i], columns, i)
        text = prompt_of(prompt)
        rows.append(
            Completion(
                prompt=text,
                images=images,
                response=text_of_completion(completion),
                is_complete=ending.is_complete(ids),
                tokens=len(ids),
                answer=answers[i],
                key=_key(text, images, digests),
            )
        )
    return rows


def prompt_of(prompt: Any) -> Prompt:
    """A prompt as the contract has it: the text of a single user turn, or turns of texts.

    Raises:
        UnreadablePrompt: a role or a content that the service does not take.
    """
    if isinstance(prompt, str):
        return prompt
    turns = []
    for place, message in enumerate(prompt):
        role = message.get("role")
        if role not in _ROLES:
            raise UnreadablePrompt(f"message {place} of a prompt has the role {role!r}")
        content = _text(message.get("content"), f"message {place} of a prompt")
        if content:
            turns.append({"role": str(role), "content": content})
    if [turn["role"] for turn in turns] == ["user"]:
        return turns[0]["content"]
    return turns


def text_of_completion(completion: Any) -> str:
    """What the policy wrote: a text, or the text of its one message.

    Raises:
        UnreadablePrompt: several messages (tools are not judged), or one without text.
    """
    if isinstance(completion, str):
        return completion
    if len(completion) != 1:
        raise UnreadablePrompt(f"a completion of {len(completion)} messages, expected one")
    return _text(completion[0].get("content"), "a completion")


def _text(content: Any, what: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise UnreadablePrompt(f"{what} has no text")
    texts = []
    for part in content:
        if part.get("type") == "text":
            texts.append(str(part["text"]))
        elif part.get("type") != "image":
            raise UnreadablePrompt(f"{what} holds {part.get('type')!r}, which is not judged")
    return "".join(texts)


def _images(prompt: Any, columns: Mapping[str, Any], i: int) -> list[Any]:
    """The pictures of a row: of its column, else of its messages.

    Raises:
        UnreadablePrompt: pictures that stand in another message than the first user turn.
    """
    found = columns.get("images")
    if found is not None and found[i] is not None:
        return [_sendable(one) for one in found[i]]
    found = columns.get("image")
    if found is not None and found[i] is not None:
        return [_sendable(found[i])]
    if isinstance(prompt, str):
        return []
    images, users = [], 0
    for message in prompt:
        users += message.get("role") == "user"
        content = message.get("content")
        parts = content if isinstance(content, list | tuple) else ()
        own = [part["image"] for part in parts if part.get("type") == "image" and "image" in part]
        if own and (message.get("role") != "user" or users > 1):
            raise UnreadablePrompt("a picture outside of the first user turn cannot be judged")
        images += [_sendable(one) for one in own]
    return images


def _sendable(image: Any) -> Any:
    """`datasets` has pictures that are not decoded as {"bytes", "path"}."""
    if isinstance(image, Mapping):
        return image["path"] if image.get("bytes") is None else image["bytes"]
    return image


def _key(prompt: Prompt, images: Sequence[Any], digests: dict[int, tuple[Any, str]]) -> str:
    parts = [json.dumps(prompt)]
    for image in images:
        if id(image) not in digests:
            digests[id(image)] = (image, identity_of(image))
        parts.append(digests[id(image)][1])
    return hashlib.sha256("\n".join(parts).encode("ascii")).hexdigest()
