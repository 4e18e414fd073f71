"""A file of JSON lines that grows while a service answers, complete after any kill.

Resuming keeps every line that has its answer and asks for the rest again: rows not reached, rows
that failed, and a last line that a kill cut in two. Lines of another model, of other settings, or
of rows that are not asked about are refused: a file has one origin. (Where a line is found by what
it answers, lines that nobody asks for are harmless, and can be kept.) The file is locked while it
is written, so that two processes cannot write it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.single_writer import lock, open_locked

Key = tuple[str, int]
"""SHA-256 of a row's own fields, and which of several equal rows it is."""


@dataclass(frozen=True)
class Origin:
    """What gives the answers: two answers of the same row from the same origin are one answer."""

    fingerprint: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Lines:
    """What the lines of a file mean.

    Attributes:
        digest: SHA-256 of the row that a line answers.
        is_answered: whether it has its answer; raises InvalidInput if it is no such line.
        rows: what the rows are part of, for messages: "the benchmark file".
        keeps_others: whether answers to rows that are not asked about stay, or are refused.
    """

    digest: Callable[[dict[str, Any]], str]
    is_answered: Callable[[dict[str, Any]], bool]
    rows: str
    keeps_others: bool = False


class ResumedFile:
    """The file, opened for adding to what is already in it.

    Attributes:
        answered: keys of the rows that are asked about and whose answers were kept.
        asked_again: lines that were dropped because they had no answer or were cut.

    Raises:
        OSError: the file cannot be read or written.
        InvalidInput: it holds something else than answers of this origin to these rows, or
            another process is writing it.
    """

    def __init__(self, path: Path, origin: Origin, asked: Collection[Key], lines: Lines) -> None:
        self.path = path
        self.origin = origin
        self._lines = lines
        self._file = open_locked(path)
        try:
            self._file.seek(0)
            found = self._file.read().splitlines(keepends=True)
            kept = self._kept(found, asked)
            self.answered = frozenset(key for key in kept if key in asked)
            self.asked_again = sum(bool(line.strip()) for line in found) - len(kept)
            if len(kept) < len(found):
                self._file = _replaced(self._file, path, b"".join(kept.values()))
        except BaseException:
            self._file.close()
            raise

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a line; once this returns, a kill of this process does not lose it."""
        self._file.write((json.dumps(row) + "\n").encode("ascii"))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _kept(self, lines: list[bytes], asked: Collection[Key]) -> dict[Key, bytes]:
        kept: dict[Key, bytes] = {}
        seen: Counter[str] = Counter()
        for number, line in enumerate(lines, start=1):
            cut = number == len(lines) and not line.endswith(b"\n")
            if not line.strip() or cut:
                continue
            try:
                row = json_object(line)
                self._check_origin(row)
                if not self._lines.is_answered(row):
                    continue
                digest = self._lines.digest(row)
                key = (digest, seen[digest])
                if key not in asked and not self._lines.keeps_others:
                    raise InvalidInput(f"answers no row of {self._lines.rows}")
            except InvalidInput as error:
                raise InvalidInput(f"{self.path}:{number}: {error}") from None
            seen[digest] += 1
            kept[key] = line
        return kept

    def _check_origin(self, row: dict[str, Any]) -> None:
        found = row.get("fingerprint")
        if found != self.origin.fingerprint:
            raise InvalidInput(
                f"is of fingerprint {found}, the service is {self.origin.fingerprint}: "
                "name another answer file"
            )
        if row.get("request") != dict(self.origin.request):
            raise InvalidInput(
                f"was asked for with {row.get('request')}, now {dict(self.origin.request)}: "
                "name another answer file"
            )


def _replaced(file: BinaryIO, path: Path, content: bytes) -> BinaryIO:
    """The file with other content, locked; at every moment the old or the new content is there."""
    part = path.with_name(path.name + ".part")
    beside = part.open("wb")
    try:
        # Locked before it has the name: nobody else gets in between.
        lock(beside, path)
        beside.write(content)
        beside.flush()
        os.fsync(beside.fileno())
        os.replace(part, path)
    except BaseException:
        beside.close()
        part.unlink(missing_ok=True)
        raise
    file.close()
    return beside
