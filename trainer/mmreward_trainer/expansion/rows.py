"""A row under the names that the readers of the written file look for, with all its other columns.

MM-RLHF's rows keep every column as it is. Of other forms the columns of a pair are renamed
(`question` to `prompt`), texts that came packed are unpacked, and everything else stays. What
cannot become a line of JSON is told of here, before any request is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mmreward_client.data import Columns, PreferencePair
from mmreward_client.data.problems import FieldProblem

ADDED = ("chosen_reason_original", "rejected_reason_original", "expansion")
"""Columns that the written file has beside those of the read one."""

MEDIA = ("image", "images", "video")

_RENAMED = {
    "mm-rlhf": {},
    "mm-rlhf-rewardbench": {},
    "vl-rewardbench": {"query": "prompt", "image_path": "image"},
    "rlhf-v": {"question": "prompt", "idx": "id", "image_path": "image"},
}


def written_row(
    row: Mapping[str, Any], pair: PreferencePair, form: str, columns: Columns | None
) -> dict[str, Any]:
    """The row as it will be written, but for its reasons and for pictures inside of it.

    Raises:
        FieldProblem: a column that the written file has for something else, or a value that JSON
            cannot hold.
    """
    for name in ADDED:
        if name in row:
            raise FieldProblem(name, "is a column already: this row has been expanded before")
    names = _named(columns) if form == "pairs" else _RENAMED[form]
    renamed: dict[str, Any] = {}
    for name, value in row.items():
        wanted = names.get(name, name)
        if wanted in renamed or (wanted != name and row.get(wanted) is not None):
            raise FieldProblem(name, f"becomes the column {wanted}, but the row has one already")
        if wanted == name or value is not None:
            renamed[wanted] = value
    if not form.startswith("mm-rlhf"):
        renamed.update(_texts(pair, renamed))
    for name, value in renamed.items():
        if name not in MEDIA:
            _check_json(name, value)
    return renamed


def _named(columns: Columns | None) -> dict[str, str]:
    """Columns that the user named, to the usual name of their field."""
    found = {}
    for one in fields(Columns):
        column = getattr(columns, one.name) if columns is not None else None
        if column is not None and column != one.name:
            found[column] = one.name
    return found


def _texts(pair: PreferencePair, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the reader made of the row, where the row itself says it otherwise or not at all."""
    made: dict[str, Any] = {
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
    }
    if row.get("id") is None:
        made["id"] = pair.id
    for name in ("chosen_reason", "rejected_reason", "category"):
        if getattr(pair, name) is not None:
            made[name] = getattr(pair, name)
    return made


def _check_json(name: str, value: Any) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise FieldProblem(name, f"cannot be written as JSON: {error}") from None
