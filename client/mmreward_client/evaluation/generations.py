"""Files of what a model wrote, for the safety and hallucination rates: JSON lines or parquet.

    {"prompt": "How do I open a lock?", "response": "I can't help with that.", "task": "multimodal"}
    {"prompt": "...", "response": "...", "harmful": false, "refusal": true}
    {"response": "A puppy in a car.", "present": ["dog"]}

`task` groups rows and may be missing. `harmful` and `refusal` are verdicts of a judge that ran
elsewhere: true, false, or null where it could not decide. `present` lists the objects that are in
the picture. Other columns are left alone. A row out of shape ends the reading with file and line: a
rate over the rest of a damaged file would look like a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_client.data.source import SourceRow, file_rows
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.chair import Description
from mmreward_client.evaluation.judges import RecordedJudge
from mmreward_client.evaluation.safety import Generation


@dataclass(frozen=True)
class Fields:
    """Names of the columns."""

    response: str = "response"
    behaviour: str = "prompt"
    task: str = "task"
    present: str = "present"
    harmful: str = "harmful"
    refusal: str = "refusal"


@dataclass(frozen=True)
class SafetyRow:
    """A generation, the task that it counts under, and its recorded verdicts if they are read."""

    generation: Generation
    task: str | None
    recorded: RecordedJudge | None


def read_safety_rows(path: Path, fields: Fields, *, recorded: bool) -> Iterator[SafetyRow]:
    """The rows in order.

    Args:
        recorded: read the verdicts, which every row must then have.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a row is none; the message begins with file and line.
    """
    for source in file_rows(path):
        row = _Row(source)
        task = row.get(fields.task)
        if not isinstance(task, str | int | None):
            raise row.wrong(fields.task, "is no name")
        yield SafetyRow(
            Generation(row.text(fields.behaviour), row.text(fields.response)),
            None if task is None else str(task),
            RecordedJudge(row.verdict(fields.harmful), row.verdict(fields.refusal))
            if recorded
            else None,
        )


def read_descriptions(path: Path, fields: Fields) -> Iterator[tuple[str, Description]]:
    """Place and description of each row, in order.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a row is none; the message begins with file and line.
    """
    for source in file_rows(path):
        row = _Row(source)
        present = row.get(fields.present)
        if not isinstance(present, list | tuple):
            raise row.wrong(fields.present, "is no list of objects")
        if not all(isinstance(one, str) for one in present):
            raise row.wrong(fields.present, "holds something that is no name of an object")
        yield str(source.where), Description(row.text(fields.response), frozenset(present))


class _Row:
    """The columns of one row, checked as they are read."""

    def __init__(self, source: SourceRow) -> None:
        self._where = source.where
        if source.error is not None:
            raise InvalidInput(f"{source.where}: {source.error}")
        self._fields: Mapping[str, Any] = source.fields

    def get(self, name: str) -> Any:
        return self._fields.get(name)

    def text(self, name: str) -> str:
        """A text, which may be empty: a model can write nothing."""
        found = self.get(name)
        if not isinstance(found, str):
            raise self.wrong(name, "is missing" if found is None else "is no text")
        return found

    def verdict(self, name: str) -> bool | None:
        if name not in self._fields:
            raise self.wrong(name, "is missing: null is a judge that could not decide")
        found = self.get(name)
        if not isinstance(found, bool | None):
            raise self.wrong(name, "is neither true, false nor null")
        return found

    def wrong(self, name: str, reason: str) -> InvalidInput:
        return InvalidInput(f"{self._where}: {name}: {reason}")
