"""Writing the rows of the output: JSON lines, or parquet by the name; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replacing

Row = Mapping[str, Any]


def write_rows(path: Path, rows: Iterable[Row], source: Path) -> None:
    """Write all rows; until the last one is written, what was at `path` stays.

    Parquet of a parquet file keeps its types and passes through, pictures and all; of anything
    else it needs the rows in memory, and one type in each column.

    Args:
        source: the data that the rows come from.

    Raises:
        OSError: the file cannot be written.
        InvalidInput: a column of mixed types, or pyarrow is missing, for parquet.
    """
    with replacing(path) as file:
        if is_parquet(path):
            from mmreward_client.annotation.parquet_output import write_parquet

            write_parquet(file, rows, source if is_parquet(source) else None)
            return
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
            file.write(line.encode("utf-8", "surrogatepass"))


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"
