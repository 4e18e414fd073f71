"""Every form of preference data by its name, so that a command can be told what a file holds.

    reader_of(Path("pairs.parquet"), "pairs", ReadOptions(), columns_of("prompt=question"))

A file is parquet by its suffix `.parquet` and JSON lines otherwise; a folder is a dataset that the
library `datasets` has saved (`save_to_disk`). Nothing is looked up anywhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.huggingface import dataset_rows
from mmreward_client.data.media import RowMedia
from mmreward_client.data.mm_rlhf import build_mm_rlhf, build_mm_rlhf_rewardbench
from mmreward_client.data.options import ReadOptions
from mmreward_client.data.pair import PreferencePair
from mmreward_client.data.reader import BuildPair, PairReader
from mmreward_client.data.rlhf_v import build_rlhf_v
from mmreward_client.data.source import SourceRow, file_rows
from mmreward_client.data.vl_rewardbench import build_vl_rewardbench
from mmreward_client.errors import InvalidInput

Rows = Callable[[], Iterator[SourceRow]]
"""Begins a pass over the rows; each call starts anew."""

_PUBLISHED: Mapping[str, BuildPair] = {
    "mm-rlhf": build_mm_rlhf,
    "mm-rlhf-rewardbench": build_mm_rlhf_rewardbench,
    "vl-rewardbench": build_vl_rewardbench,
    "rlhf-v": build_rlhf_v,
}
FORMS = ("pairs", *_PUBLISHED)
"""`pairs` is any table, by the names of its columns; the others are published forms."""


def reader_of(
    path: Path,
    form: str,
    options: ReadOptions,
    columns: Columns | None = None,
    *,
    split: str | None = None,
) -> PairReader:
    """The pairs of a file or of a saved dataset.

    Raises:
        InvalidInput: no such form, columns of a published form, no such split.
    """
    build = build_of(form, columns)
    media = RowMedia.of(options, default_root(path))
    return PairReader(rows_of(path, split), build, media, options)


def build_of(form: str, columns: Columns | None = None) -> BuildPair:
    """How the rows of a form become pairs.

    Raises:
        InvalidInput: no such form, or columns for a form that has its own.
    """
    if form not in FORMS:
        raise InvalidInput(f"form {form!r} is none of {', '.join(FORMS)}")
    if form in _PUBLISHED:
        if columns is not None:
            raise InvalidInput(f"the form {form} has its own columns: name columns of `pairs` only")
        return _PUBLISHED[form]
    named = Columns() if columns is None else columns

    def by_columns(row: SourceRow, media: RowMedia) -> PreferencePair:
        return pair_of_row(row, media, named)

    return by_columns


def rows_of(path: Path, split: str | None = None) -> Rows:
    """The rows of a file or of a saved dataset, as they come.

    Raises:
        InvalidInput: a folder that is no saved dataset, no such split, a split of a file.
    """
    if path.is_dir():
        return dataset_rows(_saved_dataset(path, split), name=str(path))
    if split is not None:
        raise InvalidInput(f"{path} is a file: only a saved dataset has splits")
    return lambda: file_rows(path)


def default_root(path: Path) -> Path | None:
    """Where paths in rows start if nothing else is said; a dataset has no such folder."""
    return None if path.is_dir() else path.parent


def columns_of(*named: str) -> Columns:
    """Columns from texts such as `prompt=question`, several also in one, with commas between.

    Raises:
        InvalidInput: no such field, a field twice, or no name behind it.
    """
    known = [one.name for one in fields(Columns)]
    found: dict[str, str] = {}
    for part in (part for text in named for part in text.split(",")):
        field, _, column = (piece.strip() for piece in part.partition("="))
        if field not in known:
            raise InvalidInput(f"{field!r} is no field of a pair: {', '.join(known)}")
        if not column or field in found:
            raise InvalidInput(f"{part!r}: write each field once, as {field}=COLUMN")
        found[field] = column
    return Columns(**found)


def _saved_dataset(path: Path, split: str | None) -> Any:
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise InvalidInput("reading a saved dataset needs the library datasets") from error
    try:
        dataset = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no saved dataset: {error}") from error
    if not isinstance(dataset, datasets.DatasetDict):
        if split is not None:
            raise InvalidInput(f"{path} is one split already")
        return dataset
    if split not in dataset:
        said = "choose a split" if split is None else f"no split {split!r}"
        raise InvalidInput(f"{path}: {said}: {', '.join(dataset)}")
    return dataset[split]
