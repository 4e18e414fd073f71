"""What tests of expansions share: the replies of a chat endpoint, and rows with comments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from client_kit.scripted import Received, Reply

KEY = "key-4f9c0a71d2"


def completion(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion; every word is a token."""
    return {
        "object": "chat.completion",
        "model": "writer-2026",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": len((text or "").split())},
    }


def text_of(request: Received) -> str:
    """The text part of the only message."""
    content = request.body["messages"][0]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def comment_of(request: Received) -> str:
    """The comment, found in the prompt by the packaged template's own words."""
    after = text_of(request).split("Comment of the expert:\n")[1]
    return after.removesuffix("\n\nExpanded comment:")


def expanding(request: Received) -> Reply:
    """An expansion that tells which comment it is of."""
    return Reply(body=completion(f"In full: {comment_of(request)}"))


def row(number: int, **fields: Any) -> dict[str, Any]:
    """A row of MM-RLHF with two comments of its own."""
    return {
        "id": f"q{number}",
        "image": f"mcq/{number % 3}.png",
        "prompt": "Which?",
        "chosen": f"It is {number}.",
        "rejected": f"Maybe {number}?",
        "chosen_reason": f"good {number}",
        "rejected_reason": f"bad {number}",
        **fields,
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
