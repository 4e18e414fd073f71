"""The scores of responses while they come in: a file with a line per response, for any kill.

It is the working file of `mmreward annotate`, beside its output: what is in it is not asked again.
Margins and β are computed from it at the end, so that other constants cost nothing. A score is
found by what was scored, so those of responses that are no longer in the data do no harm, and stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.resuming import Lines, Origin, ResumedFile
from mmreward_client.schema import ScoreResult

T = TypeVar("T")
IsAnswered = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class SideScore:
    """What became of one response."""

    status: str
    score: float | None
    stderr: float | None
    error: str | None


class KeyedFile(ResumedFile):
    """A file whose lines are found by the `key` of what they answer.

    Args:
        keys: of what is asked about.
        is_answered: whether a line has its answer; raises InvalidInput if it is no such line.

    Raises:
        OSError: the file cannot be read or written.
        InvalidInput: it holds answers of another model or of other settings, or another process is
            writing it.
    """

    def __init__(
        self, path: Path, origin: Origin, keys: Collection[str], is_answered: IsAnswered
    ) -> None:
        asked = {(key, 0) for key in keys}
        super().__init__(path, origin, asked, Lines(_key, is_answered, "the data", True))

    def holds(self, key: str) -> bool:
        return (key, 0) in self.answered


class ScoreFile(KeyedFile):
    """The file, opened for adding scores to those that are in it."""

    def __init__(self, path: Path, origin: Origin, keys: Collection[str]) -> None:
        super().__init__(path, origin, keys, _has_score)

    def add(self, result: ScoreResult) -> None:
        """Write a score, or what came instead; once this returns, a kill does not lose it."""
        self.write(
            {
                "key": result.id,
                "status": result.status,
                "score": result.score,
                "score_stderr": result.score_stderr,
                "critiques_ok": result.critiques_ok,
                "critique": next((c.text for c in result.critiques if c.text), None),
                "error": result.error,
                "fingerprint": self.origin.fingerprint,
                "request": dict(self.origin.request),
            }
        )


def read_scores(path: Path) -> dict[str, SideScore]:
    """The scores by key, as `read_lines`."""
    return read_lines(path, _side)


def read_lines(path: Path, read: Callable[[dict[str, Any]], T]) -> dict[str, T]:
    """The answers by key; of a key that is there twice, the last one.

    Args:
        read: a line as what it says; raises InvalidInput if it is no such line.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a line cannot be used; it is named.
    """
    found = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json_object(line)
                answer = read(row)
                found[_key(row)] = answer
            except InvalidInput as error:
                raise InvalidInput(f"{path}:{number}: {error}") from None
    return found


def _side(row: dict[str, Any]) -> SideScore:
    _has_score(row)
    return SideScore(
        str(row.get("status")), row["score"], row.get("score_stderr"), row.get("error")
    )


def _key(row: dict[str, Any]) -> str:
    found = row.get("key")
    if not isinstance(found, str):
        raise InvalidInput("`key` is missing: this is no file of `mmreward annotate`")
    return found


def _has_score(row: dict[str, Any]) -> bool:
    found = row.get("score", math.nan)
    if found is None:
        return False
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise InvalidInput("`score` is neither a finite number nor null")
    return True
