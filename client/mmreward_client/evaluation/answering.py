"""The answer file of an evaluation under way: a line per pair, complete after any kill.

A line is the benchmark's row with these fields added: `rewards` and `critic` as the released
evaluation of MM-RLHF writes them, `delta`, `prob`, `status`, `error`, and where they come from:
`fingerprint` (provenance of the service), `request` (mode and sampling), `row_sha256`. A failed
pair has null rewards, on which the released metric script stops: it knows no failure.

Resuming keeps every line that has rewards and asks for the rest again: rows not reached, rows that
failed, and a last line that a kill cut in two. (The released script resumes by id, and so loses the
remaining pairs of a question that was half answered.) Lines of another model, of other sampling, or
of rows that the benchmark file does not hold are refused: a file has one origin. The file is locked
while it is written, so that two processes cannot write it; changed picture files are not noticed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answers import judged
from mmreward_client.evaluation.questions import Key, Question, row_sha256
from mmreward_client.evaluation.single_writer import lock, open_locked
from mmreward_client.schema import PairResult, Scored


@dataclass(frozen=True)
class Origin:
    """What gives the rewards: two answers of the same row from the same origin are one answer."""

    fingerprint: str
    request: Mapping[str, Any]


class AnswerFile:
    """The file, opened for adding to what is already in it.

    Attributes:
        answered: keys of the questions whose answers were kept.
        asked_again: lines that were dropped because they had no rewards or were cut.

    Raises:
        OSError: the file cannot be read or written.
        InvalidInput: it holds something else than answers of this origin to these questions, or
            another process is writing it.
    """

    def __init__(self, path: Path, origin: Origin, asked: Collection[Key]) -> None:
        self.path = path
        self._origin = origin
        self._file = open_locked(path)
        try:
            self._file.seek(0)
            lines = self._file.read().splitlines(keepends=True)
            kept = self._kept(lines, asked)
            self.answered = frozenset(kept)
            self.asked_again = sum(bool(line.strip()) for line in lines) - len(kept)
            if len(kept) < len(lines):
                self._file = _replaced(self._file, path, b"".join(kept.values()))
        except BaseException:
            self._file.close()
            raise

    def add(self, question: Question, result: PairResult) -> None:
        """Write the answer; once this returns, a kill of this process does not lose it."""
        line = json.dumps(answer(question, result, self._origin)) + "\n"
        self._file.write(line.encode("ascii"))
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
                if judged(row).rewards is None:
                    continue
                digest = row_sha256(row)
                key = (digest, seen[digest])
                if key not in asked:
                    raise InvalidInput("answers no row of the benchmark file")
            except InvalidInput as error:
                raise InvalidInput(f"{self.path}:{number}: {error}") from None
            seen[digest] += 1
            kept[key] = line
        return kept

    def _check_origin(self, row: dict[str, Any]) -> None:
        found = row.get("fingerprint")
        if found != self._origin.fingerprint:
            raise InvalidInput(
                f"is of fingerprint {found}, the service is {self._origin.fingerprint}: "
                "name another answer file"
            )
        if row.get("request") != dict(self._origin.request):
            raise InvalidInput(
                f"was asked for with {row.get('request')}, now {dict(self._origin.request)}: "
                "name another answer file"
            )


def answer(question: Question, result: PairResult, origin: Origin) -> dict[str, Any]:
    """The line of one pair."""
    rewards = None
    if result.status == "ok" and result.chosen is not None and result.rejected is not None:
        rewards = [result.chosen.score, result.rejected.score]
    return {
        **question.row,
        "rewards": rewards,
        "critic": [_critique(result.chosen), _critique(result.rejected)],
        "delta": result.delta,
        "prob": result.prob,
        "status": result.status,
        "error": result.error,
        "fingerprint": origin.fingerprint,
        "request": dict(origin.request),
        "row_sha256": question.key[0],
    }


def _critique(scored: Scored | None) -> str | None:
    texts = [critique.text for critique in scored.critiques if critique.text] if scored else []
    return texts[0] if texts else None


def _replaced(file: BinaryIO, path: Path, content: bytes) -> BinaryIO:
    """The file with other content, locked; at every moment the old or the new content is there."""
    beside = path.with_name(path.name + ".part").open("wb")
    try:
        # Locked before it has the name: nobody else gets in between.
        lock(beside, path)
        beside.write(content)
        beside.flush()
        os.fsync(beside.fileno())
        os.replace(beside.name, path)
    except BaseException:
        beside.close()
        raise
    file.close()
    return beside
