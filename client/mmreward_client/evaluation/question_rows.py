"""A benchmark's row as it stands in an answer file: JSON, with the texts that the metrics read.

Pictures inside a row (parquet, `datasets`) are named by the path that stood beside their bytes and
by SHA-256; the bytes themselves are in the benchmark. A form whose columns have other names gets
the texts of the pair under the usual ones beside its own, or the length baseline would have nothing
to count. MM-RLHF's rows stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from mmreward_client.data.pair import PreferencePair
from mmreward_client.errors import InvalidInput

_AS_THEY_ARE = (None, "mm-rlhf", "mm-rlhf-rewardbench")


def plain_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns as JSON can hold them; NaN and infinities, which it has not, become null.

    A table that pandas wrote has NaN wherever a number is missing.

    Raises:
        InvalidInput: a column holds something else than JSON, pictures or bytes.
    """
    row = {}
    for name, value in fields.items():
        row[name] = _plain(value)
        try:
            json.dumps(row[name], allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{name}: cannot be written as JSON: {error}") from None
    return row


def answer_row(
    row: dict[str, Any], pair: PreferencePair | None, form: str | None, line: int
) -> dict[str, Any]:
    """The row with the texts of its pair, and an id.

    Args:
        pair: None where the row is no pair; then it has its own columns alone.
        line: stands in for the id of a row of a table that has none.
    """
    if form in _AS_THEY_ARE:
        return row
    made: dict[str, Any] = {}
    if row.get("id") is None:
        made["id"] = str(line) if pair is None else pair.id
    if pair is not None:
        made |= {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
        if pair.category is not None:
            made["category"] = pair.category
    return {**row, **made}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"path": None, "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Mapping):
        content = value.get("bytes")
        if isinstance(content, bytes | bytearray | memoryview):
            return {"path": value.get("path"), "sha256": hashlib.sha256(content).hexdigest()}
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
