"""The prompt templates of an import: from a file, or taken out of the folder's own chat template.

A scalar reward model reads its score at the end of a conversation that holds the answer. That is
the read-out `after_turn` with an empty critique: `critique` ends with the response, `none` goes on
to the end of the turn, and both read the same token.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from mmreward_client.schema import describe
from mmreward_service.reward.spec import Templates
from pydantic import ValidationError

from mmreward_trainer.importing.refusal import ImportRefused

_PROMPT, _RESPONSE = "MMREWARDPROMPT", "MMREWARDRESPONSE"
_BRACES = re.compile(r"\{[a-z_]+\}")


def read_templates(file: Path) -> Templates:
    """Templates from a JSON or TOML file.

    Raises:
        ImportRefused: naming the file and every field that is wrong.
    """
    try:
        text = file.read_text(encoding="utf-8")
        value = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
        return Templates.model_validate(value)
    except OSError as error:
        raise ImportRefused(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ImportRefused(f"{file}: {describe(error)}") from error
    except ValueError as error:
        raise ImportRefused(f"{file} is neither JSON nor TOML: {error}") from error


def templates_of_chat(processor: Any, end_of_turn: str) -> Templates:
    """Templates that render what the folder's chat template renders for one question and answer.

    Args:
        processor: a transformers processor with a chat template.
        end_of_turn: the token that closes a turn.
    Raises:
        ImportRefused: the chat template is missing, or does more than to join texts.
    """
    if not getattr(processor, "chat_template", None):
        raise ImportRefused("the folder has no chat template: give the templates with --templates")
    with_image = _chat(processor, ["image"])
    without = _chat(processor, [])
    with_video = _chat(processor, ["video"])
    image = _inserted(without, with_image)
    video = _inserted(without, with_video)
    position = with_image.index(image)
    before, after = with_image[:position], with_image[position + len(image) :]
    whole = before + "{media}" + after
    if (
        _BRACES.search(with_image)
        or whole.count(_PROMPT) != 1
        or whole.count(_RESPONSE) != 1
        or end_of_turn not in whole.split(_RESPONSE)[1]
    ):
        raise ImportRefused(
            "the folder's chat template does not hold question and answer once each, in this "
            "order, before an end of turn: give the templates with --templates"
        )
    whole = whole.replace(_PROMPT, "{prompt}").replace(_RESPONSE, "{response}")
    head, tail = whole.split("{response}")
    return Templates(
        critique=head + "{response}",
        none=whole,
        image=image,
        video=video,
        end_of_turn=end_of_turn,
        after_turn=tail,
    )


def _chat(processor: Any, media: list[str]) -> str:
    content: list[dict[str, str]] = [{"type": kind} for kind in media]
    messages = [
        {"role": "user", "content": [*content, {"type": "text", "text": _PROMPT}]},
        {"role": "assistant", "content": [{"type": "text", "text": _RESPONSE}]},
    ]
    return str(processor.apply_chat_template(messages, tokenize=False))


def _inserted(without: str, with_it: str) -> str:
    """The one run of text that the second string has more than the first."""
    added = len(with_it) - len(without)
    last = 0
    while last < len(without) and without[last] == with_it[last]:
        last += 1
    # A run between equal texts can be cut out at several places: prefer one that begins a token.
    first = last
    while first and added > 0 and with_it[first - 1] == with_it[first + added - 1]:
        first -= 1
    start = next((i for i in range(last, first - 1, -1) if with_it[i : i + 1] == "<"), last)
    run = with_it[start : start + added]
    if added <= 0 or without[:start] + run + without[start:] != with_it:
        raise ImportRefused(
            "the folder's chat template writes a picture as more than one run of text: give the "
            "templates with --templates"
        )
    return run
