"""Pairs of a dataset of the library `datasets`, in memory or streamed, by the names of its columns.

    read_dataset(load_dataset("parquet", data_files="pairs.parquet", split="train"))

Images stay encoded: a decoded one would be encoded anew as PNG on its way, and a path would have
been opened before it was checked. What a streamed dataset fetches by itself is the caller's choice;
a path of a row that was not fetched with it is treated as in any other table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.media import RowMedia
from mmreward_client.data.options import DEFAULTS, ReadOptions
from mmreward_client.data.pair import PreferencePair, Where
from mmreward_client.data.reader import BuildPair, PairReader
from mmreward_client.data.source import SourceRow
from mmreward_client.errors import InvalidInput


def read_dataset(
    dataset: Any,
    columns: Columns | None = None,
    options: ReadOptions = DEFAULTS,
    *,
    name: str = "dataset",
    build: BuildPair | None = None,
) -> PairReader:
    """A reader of one split, `Dataset` or `IterableDataset`.

    Args:
        columns: where the columns have other than the usual names.
        options: paths in rows need its `image_root`; images inside the rows need nothing.
        name: what messages call the dataset; rows are numbered from 1.
        build: instead of `columns`, how a published format makes a pair of a row, such as
            `build_rlhf_v`.

    Raises:
        InvalidInput: not one split of a dataset, or both `columns` and `build`.
    """
    if columns is not None and build is not None:
        raise InvalidInput("give columns or build, not both")
    named = Columns() if columns is None else columns
    rows = dataset_rows(dataset, name=name)

    def by_columns(row: SourceRow, media: RowMedia) -> PreferencePair:
        return pair_of_row(row, media, named)

    media = RowMedia.of(options, None)
    return PairReader(rows, by_columns if build is None else build, media, options)


def dataset_rows(dataset: Any, *, name: str) -> Callable[[], Iterator[SourceRow]]:
    """The rows of one split, numbered from 1, with images as they were encoded.

    Raises:
        InvalidInput: not one split of a dataset, or the library is not installed.
    """
    undecoded = _undecoded(dataset)

    def rows() -> Iterator[SourceRow]:
        for number, fields in enumerate(undecoded, start=1):
            yield SourceRow(Where(name, number), fields)

    return rows


def _undecoded(dataset: Any) -> Any:
    """The dataset as a stream whose images are bytes and paths."""
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise InvalidInput("reading a dataset needs the library datasets") from error
    if isinstance(dataset, datasets.Dataset):
        dataset = dataset.to_iterable_dataset()
    if not isinstance(dataset, datasets.IterableDataset):
        raise InvalidInput(
            f"{type(dataset).__name__} where a Dataset or IterableDataset was expected: "
            "choose one split"
        )
    dataset = dataset.with_format(None)  # plain values, not arrays
    # Without known features there is nothing that the library would decode.
    return dataset.decode(False) if dataset.features else dataset
