"""A data set as an Arrow table on disk: random access, any size, the same on every process.

Readers give one row at a time and name its pictures; the table keeps those names, or the bytes
where a row held them, so that a set larger than memory can be shuffled. Beside it stand the account
of the rows and their fingerprints.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_client.data import ImageSource, PairReader, PreferencePair, ReadOptions
from mmreward_client.data.forms import columns_of, reader_of
from mmreward_client.errors import InvalidInput
from mmreward_client.file_replacement import replace_file

from mmreward_trainer.critique.configuration import ConfigError, Data

REPORT_FILE = "rows.json"
FINGERPRINTS_FILE = "fingerprints.txt"

Progress = Callable[[int], None]
"""Called with the number of rows read so far."""

Encode = Callable[[dict[str, Any]], object]
"""Encodes a row of the table, or raises RowError."""

_MAX_LISTED = 1000


class RowError(ConfigError):
    """A row that cannot be trained on; the message names file and line."""


@dataclass(frozen=True)
class Rows:
    """A data set, ready to be trained on.

    Attributes:
        table: a `datasets.Dataset`, see `row_of`.
        fingerprints: of every row, in order.
        report: rows read, left out and why, with reasons or without, ties, and the fingerprint of
            the whole set.
    """

    table: Any
    fingerprints: list[str]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.fingerprints)


def build_rows(
    files: list[Path],
    data: Data,
    folder: Path,
    *,
    split: str | None = None,
    encode: Encode | None = None,
    texts: Mapping[str, str] | None = None,
    progress: Progress = lambda rows: None,
) -> Rows:
    """Read files into `folder`, or take what an earlier call left there.

    Args:
        split: of saved datasets that have splits.
        encode: rows that it refuses with RowError are left out and counted; None leaves them in.
        texts: columns of text to keep beside what a pair has: name in the table -> in the rows.
    Raises:
        InvalidInput: a row is wrong or its picture missing, and the policy is `error`.
        ConfigError: no row is left, or the folder holds other data.
    """
    from datasets import Dataset, load_from_disk
    from datasets.exceptions import DatasetGenerationError

    table_folder = folder / "table"
    source = {"files": [str(file) for file in files], "split": split, "data": _settings(data)}
    if (folder / REPORT_FILE).is_file():
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        if report["source"] != source:
            raise ConfigError(f"{folder} holds the rows of other files or settings")
        fingerprints = (folder / FINGERPRINTS_FILE).read_text(encoding="ascii").split()
        return Rows(load_from_disk(str(table_folder)), fingerprints, report)
    folder.mkdir(parents=True, exist_ok=True)
    # A killed run's cache may be complete: the library would take it and read no row, and the
    # account of the rows would stay empty.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    account = _Account()
    try:
        table = Dataset.from_generator(
            lambda: account.rows(_readers(files, data, split), data, encode, texts or {}, progress),
            cache_dir=str(folder / "cache"),
            features=_features(texts or {}),
        )
    except DatasetGenerationError as error:
        # What went wrong in a row is the cause; the library's own message hides it.
        raise (error.__cause__ or error) from None
    except ValueError:
        # Of a stream without rows the library makes no table; the message below says why.
        if account.fingerprints:
            raise
    if not account.fingerprints:
        raise ConfigError(f"no row is left of {', '.join(source['files'])}: {account.counts()}")
    table.save_to_disk(str(table_folder))
    report = {"source": source, **account.counts(), "fingerprint": account.fingerprint()}
    (folder / FINGERPRINTS_FILE).write_text("\n".join(account.fingerprints) + "\n", "ascii")
    replace_file(folder / REPORT_FILE, json.dumps(report, indent=2) + "\n")
    return Rows(load_from_disk(str(table_folder)), account.fingerprints, report)


def check_apart(train: list[str], validation: list[str]) -> None:
    """Fingerprints of both sets must have none in common.

    Raises:
        ConfigError: some rows are in both.
    """
    common = set(train).intersection(validation)
    if common:
        raise ConfigError(
            f"{len(common)} validation rows are training rows, too, the first of them row "
            f"{next(i for i, one in enumerate(validation, 1) if one in common)}"
        )


def _settings(data: Data) -> dict[str, Any]:
    return data.model_dump(
        mode="json", exclude={"train", "validation", "train_split", "validation_split", "workers"}
    )


def _readers(files: list[Path], data: Data, split: str | None) -> Iterator[PairReader]:
    options = ReadOptions(
        image_root=data.image_root,
        bad_rows=data.bad_rows,
        missing_images=data.missing_images,
        max_image_bytes=data.max_image_bytes,
        max_image_pixels=data.max_image_pixels,
        max_frames=data.max_frames,
        source_fps=data.source_fps,
    )
    columns = columns_of(*data.columns) if data.columns else None
    for file in files:
        yield reader_of(file, data.form, options, columns, split=split)


class _Account:
    """Rows on their way into the table, counted."""

    def __init__(self) -> None:
        self.fingerprints: list[str] = []
        self.ties = self.with_reasons = self.without_reasons = 0
        self.readers: list[PairReader] = []
        self.unusable: list[str] = []

    def rows(
        self,
        readers: Iterable[PairReader],
        data: Data,
        encode: Encode | None,
        texts: Mapping[str, str],
        progress: Progress,
    ) -> Iterator[dict[str, Any]]:
        for pair in self._pairs(readers):
            row = row_of(pair, data.margin_column, texts)
            if encode is not None:
                try:
                    encode(row)
                except RowError as error:
                    self.unusable.append(str(error))
                    continue
            self.fingerprints.append(pair.fingerprint())
            has_reasons = row["chosen_reason"] is not None and row["rejected_reason"] is not None
            self.ties += pair.is_tie
            self.with_reasons += has_reasons
            self.without_reasons += not has_reasons
            progress(len(self.fingerprints))
            yield row

    def _pairs(self, readers: Iterable[PairReader]) -> Iterator[PreferencePair]:
        for reader in readers:
            # Before its first pair: a file without any good row counts as well.
            self.readers.append(reader)
            yield from reader

    def counts(self) -> dict[str, Any]:
        summaries = [reader.summary for reader in self.readers]
        return {
            "pairs": len(self.fingerprints),
            "rows": sum(one.rows for one in summaries),
            "bad": sum(one.bad for one in summaries),
            "missing_images": sum(one.missing_images for one in summaries),
            "unusable": len(self.unusable),
            "left_out": [
                *(str(row) for one in summaries for row in (*one.bad_rows, *one.missing_rows)),
                *self.unusable[:_MAX_LISTED],
            ],
            "ties": self.ties,
            "with_reasons": self.with_reasons,
            "without_reasons": self.without_reasons,
        }

    def fingerprint(self) -> str:
        """Of the set: SHA-256 over the rows' own, in order."""
        return hashlib.sha256("\n".join(self.fingerprints).encode("ascii")).hexdigest()


def row_of(
    pair: PreferencePair, margin_column: str | None, texts: Mapping[str, str]
) -> dict[str, Any]:
    """A pair as one row of the table.

    Raises:
        RowError: the margin is not a finite number of at least 0, or a text is something else.
    """
    frames = pair.video.frames if pair.video is not None else ()
    return {
        "where": str(pair.where),
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "chosen_reason": pair.chosen_reason,
        "rejected_reason": pair.rejected_reason,
        "is_tie": pair.is_tie,
        "margin": _margin(pair, margin_column),
        "category": pair.category,
        "fps": pair.video.fps if pair.video is not None else None,
        "pictures": [_picture(source) for source in (*pair.images, *frames)],
        **{name: _text(pair, column) for name, column in texts.items()},
    }


def _margin(pair: PreferencePair, column: str | None) -> float:
    if column is None or pair.is_tie:
        return 0.0
    value = pair.extra.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise RowError(f"{pair.where}: {column}: not a margin of at least 0: {value!r}")
    return float(value)


def _text(pair: PreferencePair, column: str) -> str | None:
    value = pair.extra.get(column)
    if value is not None and not isinstance(value, str):
        raise RowError(f"{pair.where}: {column}: not a text")
    return value


def _picture(source: ImageSource) -> dict[str, Any]:
    return {
        "path": None if source.path is None else str(source.path),
        "bytes": source.content,
    }


def read_pictures(row: dict[str, Any]) -> list[bytes]:
    """The encoded pictures of a row.

    Raises:
        InvalidInput: a file cannot be read any more; the message names row and file.
    """
    try:
        return [
            ImageSource(
                path=None if one["path"] is None else Path(one["path"]), content=one["bytes"]
            ).read()
            for one in row["pictures"]
        ]
    except InvalidInput as error:
        raise InvalidInput(f"{row['where']}: {error}") from error


def _features(texts: Mapping[str, str]) -> Any:
    from datasets import Features, Value

    text = Value("large_string")
    return Features(
        {
            **dict.fromkeys(("where", "prompt", "chosen", "rejected"), text),
            **dict.fromkeys(("chosen_reason", "rejected_reason", "category"), text),
            "is_tie": Value("bool"),
            "margin": Value("float64"),
            "fps": Value("float64"),
            **dict.fromkeys(texts, text),
            "pictures": [{"path": text, "bytes": Value("large_binary")}],
        }
    )
