"""What counts as an expansion, and a name for everything that does not.

    truncated    the reply reached the bound of its length (`finish_reason` length)
    empty        the reply has no text
    refused      the endpoint or the model declined: the `refusal` field, a content filter, or a
                 text that begins like a refusal
    unexpected   a reply that is none: no choice, another finish reason, visible reasoning
    rejected     the endpoint turned the request down (a 4xx that no repetition cures)
    unavailable  429, 5xx or no connection, also after the last repetition
    timeout      no reply in time, also after the last repetition
    unreadable   a picture could not be read when it was about to be sent

The first four were answered, and paid for where answers cost something: they are asked again only
if that is wished for (a cut one also when the bound has been raised). The others were not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from mmreward_client.evaluation.judges import KeywordJudge, read_phrases
from pydantic import BaseModel, ValidationError

Status = Literal[
    "ok",
    "truncated",
    "empty",
    "refused",
    "unexpected",
    "rejected",
    "unavailable",
    "timeout",
    "unreadable",
]
ANSWERED: frozenset[Status] = frozenset({"truncated", "empty", "refused", "unexpected"})

_REASONING = ("<think>", "<thinking>", "<|channel|>")
_OPENING_CHARACTERS = 60
_FIRST_WORDS = ("i ", "i'm ", "i’m ", "sorry", "as an ai", "unfortunately, i")


@dataclass(frozen=True)
class Usage:
    """Tokens as the endpoint counts them; None where it says nothing."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class Reply:
    """What came of a request. `text` is set exactly if the status is `ok`.

    Attributes:
        reason: why it is no expansion, for the journal; may quote the endpoint.
        model: as the endpoint names what answered.
        http_status: of an error reply.
        retries: repetitions before this outcome.
    """

    status: Status
    text: str | None = None
    reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    http_status: int | None = None
    retries: int = 0


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


def read_reply(content: str | bytes, *, retries: int = 0) -> Reply:
    """The reply in a body that came with HTTP 200; never raises."""
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError as error:
        place = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, place["loc"]))
        return Reply("unexpected", reason=f"no chat completion: {field}: {place['msg']}")
    found = completion.usage or _Usage()
    usage = Usage(found.prompt_tokens, found.completion_tokens)
    status, text, reason = _outcome(completion.choices)
    return Reply(status, text, reason, usage, completion.model, retries=retries)


def _outcome(choices: list[_Choice]) -> tuple[Status, str | None, str | None]:
    if not choices:
        return "unexpected", None, "no choice"
    message, finish = choices[0].message, choices[0].finish_reason
    if message.refusal or finish == "content_filter":
        return "refused", None, message.refusal or "stopped by a content filter"
    if finish == "length":
        return "truncated", None, "reached the bound of its length"
    text = (message.content or "").strip()
    if not text:
        return "empty", None, f"no text (finish_reason {finish})"
    if finish != "stop":
        return "unexpected", None, f"finish_reason {finish}"
    if text.startswith(_REASONING):
        return "unexpected", None, "begins with the model's reasoning: let the endpoint parse it"
    if _begins_like_a_refusal(text):
        return "refused", None, text[:_OPENING_CHARACTERS]
    return "ok", text, None


def _begins_like_a_refusal(text: str) -> bool:
    """Only at the beginning: further inside, a critique may speak of an answer that refuses."""
    opening = text[:_OPENING_CHARACTERS]
    first = opening.split(". ")[0].casefold().lstrip("\"'“‘* ")
    return first.startswith(_FIRST_WORDS) and _refusals().is_refusal(opening) is True


@cache
def _refusals() -> KeywordJudge:
    return KeywordJudge(read_phrases())
