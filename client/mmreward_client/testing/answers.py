"""What a local service says of a response: computed from its text, or replayed from a record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.schema import Critique, Scored, Status, describe


@dataclass(frozen=True)
class Side:
    """One response as it was asked about.

    Attributes:
        id: of its item; None for a side of a pair or a response of a group.
        prompt: the question; a conversation as its JSON.
        media: SHA-256 of each image or frame as it was sent.
    """

    prompt: str
    response: str
    media: tuple[str, ...] = ()
    id: str | None = None


Answers = Callable[[Side], Scored]


class ComputedAnswers:
    """A score from -4 to 4 that depends on seed, prompt, response and media, and on nothing else.

    The same response has the same score in `/v1/score`, in a pair and in a group.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def __call__(self, side: Side) -> Scored:
        parts = json.dumps([self._seed, side.prompt, side.response, side.media])
        digest = hashlib.sha256(parts.encode("ascii")).digest()
        score = round(8.0 * int.from_bytes(digest[:7], "big") / 2**56 - 4.0, 4)
        return good(score, text=f"Computed for {len(side.response)} characters.")


class RecordedAnswers:
    """Answers by what was asked; what is not in the record is `invalid`, and counted.

    Args:
        record: from an item's id, a `(prompt, response)`, or a response's text, in this order, to a
            score, the status of a failure, None (`internal`), or the fields of a result.
        otherwise: who answers what is not in the record.

    Attributes:
        missing: how many responses were asked for that are not in the record.

    Raises:
        InvalidInput: a value that is no answer.
    """

    def __init__(
        self, record: Mapping[str | tuple[str, str], Any], *, otherwise: Answers | None = None
    ) -> None:
        self._record = {key: _answer(value) for key, value in record.items()}
        self._otherwise = otherwise
        self.missing = 0

    @classmethod
    def read(cls, path: Path | str, *, otherwise: Answers | None = None) -> RecordedAnswers:
        """A record of JSON lines: what `mmreward score --json` and `mmreward annotate` write.

        A line holds `score` (null with a `status`) and `id`, or `response`, or `prompt` and
        `response`; or `prompt`, `chosen`, `rejected`, `chosen_score` and `rejected_score`.

        Raises:
            OSError: the file cannot be read.
            InvalidInput: a line is no record; the message begins with file and line.
        """
        record: dict[str | tuple[str, str], Any] = {}
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record |= _recorded(json_object(line))
                except InvalidInput as error:
                    raise InvalidInput(f"{path}:{number}: {error}") from None
        return cls(record, otherwise=otherwise)

    def __call__(self, side: Side) -> Scored:
        for key in (side.id, (side.prompt, side.response), side.response):
            if key is not None and key in self._record:
                return self._record[key]
        if self._otherwise is not None:
            return self._otherwise(side)
        self.missing += 1
        return Scored(status="invalid", error=f"no answer recorded for {side.response[:60]!r}")


def good(score: float, *, text: str = "Recorded.") -> Scored:
    """A score with the critique that it was read from."""
    critique = Critique(text=text, score=score, finish_reason="stop", tokens=len(text.split()))
    return Scored(status="ok", score=score, critiques_ok=1, critiques=[critique])


def _answer(value: Any) -> Scored:
    if isinstance(value, bool):
        raise InvalidInput(f"{value!r} is no score")
    if value is None or isinstance(value, str):
        status = value or "internal"
        if status == "ok" or status not in get_args(Status):
            raise InvalidInput(f"{value!r} is no status of a failure")
        return Scored.model_validate({"status": status, "error": f"recorded as {status}"})
    try:
        if isinstance(value, Mapping):
            return Scored.model_validate({"status": "ok", **value})
        return good(Scored(status="ok", score=value).score or 0.0)
    except ValidationError as error:
        raise InvalidInput(describe(error)) from None


def _recorded(row: Mapping[str, Any]) -> dict[str | tuple[str, str], Any]:
    if "chosen" in row and "rejected" in row:
        sides = [
            (row[name], row.get(f"{name}_score"), row.get(f"{name}_status") or row.get("status"))
            for name in ("chosen", "rejected")
        ]
        return {
            (prompt_key(row.get("prompt")), response): _value(score, status)
            for response, score, status in sides
        }
    value = _value(row.get("score"), row.get("status"))
    keys: list[str | tuple[str, str]] = []
    if isinstance(row.get("id"), str):
        keys.append(row["id"])
    if isinstance(row.get("response"), str):
        prompt = row.get("prompt")
        keys.append(row["response"] if prompt is None else (prompt_key(prompt), row["response"]))
    if not keys:
        raise InvalidInput("neither `id` nor `response`: whose score is this?")
    return dict.fromkeys(keys, value)


def _value(score: Any, status: Any) -> Any:
    if score is not None:
        return score
    return None if status in (None, "ok") else status


def prompt_key(prompt: Any) -> str:
    """A question as a key: its text, or a conversation's JSON."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
