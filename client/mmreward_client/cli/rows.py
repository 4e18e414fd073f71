"""Rows of a JSONL file: what is in each line, and what is wrong with it and where.

    {"id": "7", "images": "cat.png", "prompt": "What is it?", "response": "A cat."}
    {"images": ["a.png", "b.png"], "prompt": "Same?", "chosen": "No.", "rejected": "Yes."}
    {"video": {"frames": ["0.png", "1.png"], "fps": 2}, "prompt": "What moves?", "response": "Dog."}

Image paths start from the file's folder. A row that cannot be sent keeps its place with a sentence
that names file and line: nothing is dropped. Columns the service does not know are set aside and
named, so that a misspelt one is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.images import MediaTable
from mmreward_client.inputs import wire_item
from mmreward_client.schema import parse_item


@dataclass(frozen=True)
class Row:
    """One line: an item, or what is wrong with it."""

    path: Path
    line: int
    item: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    unknown: frozenset[str] = frozenset()
    columns: dict[str, Any] = field(default_factory=dict)
    """All that stands in the line, known or not."""

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def id(self) -> str | None:
        found = self.item.get("id")
        return found if isinstance(found, str) else None

    def failed(self, reason: str) -> Row:
        return replace(self, error=f"{self.where}: {reason}")

    def changed(self, item: dict[str, Any], *, unknown: frozenset[str] | None = None) -> Row:
        """The same row with its item in another form."""
        return replace(self, item=item, unknown=self.unknown if unknown is None else unknown)


def read_rows(path: Path, kind: type[BaseModel]) -> Iterator[Row]:
    """The rows of a file in order; empty lines are skipped.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _row(Row(path, number), line, kind)


def with_pictures(row: Row, kind: type[BaseModel]) -> Row:
    """The row with its images read in, or what is wrong with them or with any other field."""
    if row.error is not None:
        return row
    folder = row.path.parent
    media = MediaTable()
    try:
        item = wire_item(row.item, media, relative_to=folder)
    except InvalidInput as error:
        return row.failed(str(error))
    broken = parse_item(kind, item)
    if isinstance(broken, str):
        return row.failed(broken)
    return row.changed(_inlined(item, media))


def _row(row: Row, line: bytes, kind: type[BaseModel]) -> Row:
    try:
        raw = json_object(line)
    except InvalidInput as error:
        return row.failed(str(error))
    known = {name: value for name, value in raw.items() if name in kind.model_fields}
    if isinstance(known.get("id"), int):
        known["id"] = str(known["id"])  # data sets number their rows; the wire has text
    unknown = frozenset(raw) - frozenset(known)
    return replace(row, item=known, unknown=unknown, columns=raw)


def _inlined(item: dict[str, Any], media: MediaTable) -> dict[str, Any]:
    """References replaced by what they stand for; the client makes one table of the whole batch."""
    inlined = dict(item)
    if "images" in item:
        inlined["images"] = [media.entries[key] for key in item["images"]]
    if "video" in item:
        frames = [media.entries[key] for key in item["video"]["frames"]]
        inlined["video"] = {"frames": frames, "fps": item["video"]["fps"]}
    return inlined
