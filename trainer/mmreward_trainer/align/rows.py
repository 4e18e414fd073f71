"""Preference pairs as an Arrow table on disk, with the columns that carry δ, β and status.

The table is made once in the folder of the run and read again when the run is resumed. It keeps
paths of pictures, or their bytes where a row held them.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mmreward_client.data import PairReader, PreferencePair, ReadOptions
from mmreward_client.data.forms import columns_of, reader_of
from mmreward_client.file_replacement import replace_file

from mmreward_trainer.align.configuration import AlignData
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.rows import RowError

REPORT_FILE = "rows.json"
FINGERPRINTS_FILE = "fingerprints.txt"
_MAX_LISTED = 1000

Check = Callable[[dict[str, Any]], object]
"""Raises RowError for a row of the table that cannot be used; what it returns is not looked at."""


class RowAccount(Protocol):
    """Rows on their way into a table, counted."""

    fingerprints: list[str]

    def counts(self) -> dict[str, Any]:
        """Of what was read and left out, as JSON holds it."""
        ...


@dataclass(frozen=True)
class PairTable:
    """A data set, ready to be trained on.

    Attributes:
        table: a `datasets.Dataset` with `where`, `prompt`, `chosen`, `rejected`, `images`, and
            `status` and numbers if they were asked for.
        fingerprints: of every row, in order.
        report: rows read, left out and why.
    """

    table: Any
    fingerprints: list[str]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.fingerprints)


def build_pairs(
    files: Sequence[Path],
    data: AlignData,
    folder: Path,
    *,
    split: str | None = None,
    number: str | None = None,
    optional: bool = False,
    check: Check | None = None,
    leaves_out: bool = True,
) -> PairTable:
    """Read files into `folder`, or take what an earlier call left there.

    Args:
        number: a column of numbers to keep, with `status` beside it; null where there is none.
        optional: whether the rows may lack that column altogether.
        check: of every row; None leaves all of them in.
        leaves_out: whether rows that it refuses are left out and counted; False: the first raises.
    Raises:
        InvalidInput: a row is wrong or its picture missing, and the policy is `error`.
        ConfigError: no row is left, or the folder holds other data.
        RowError: a value that is no number, a video, a row that was refused.
    """
    settings = data.model_dump(
        mode="json", exclude={"train", "validation", "train_split", "validation_split", "workers"}
    )
    names = [str(file) for file in files]
    source = {"files": names, "split": split, "number": number, "data": settings}
    account = _Account()

    def rows() -> Iterator[dict[str, Any]]:
        return account.rows(_readers(files, data, split), number, optional, check, leaves_out)

    def finish(table: Any) -> Any:
        is_absent = number is not None and optional and not account.has_number
        return table.remove_columns(number) if is_absent else table

    return build_table(folder, source, account, rows, _features(number), finish)


def rows_folder(folder: Path, unusable: str) -> Path:
    """Where the rows of a run are, one place for each policy: a resumed run may take the other."""
    return folder / "usable" if unusable == "skip" else folder


def build_table(
    folder: Path,
    source: dict[str, Any],
    account: RowAccount,
    rows: Callable[[], Iterator[dict[str, Any]]],
    features: Any,
    finish: Callable[[Any], Any] = lambda table: table,
) -> PairTable:
    """Write rows into `folder`, or take what an earlier call left there.

    Args:
        source: what the rows are made of, as JSON holds it; that of an earlier call must be equal.
        account: kept by the rows while they are drawn.
        finish: the last change of the table before it is saved.
    Raises:
        ConfigError: no row is left, or the folder holds other data.
    """
    from datasets import Dataset, load_from_disk
    from datasets.exceptions import DatasetGenerationError

    if (folder / REPORT_FILE).is_file():
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        if report["source"] != source:
            raise ConfigError(f"{folder} holds the rows of other files or settings")
        fingerprints = (folder / FINGERPRINTS_FILE).read_text(encoding="ascii").split()
        return PairTable(load_from_disk(str(folder / "table")), fingerprints, report)
    folder.mkdir(parents=True, exist_ok=True)
    # A killed run's cache may be complete: the library would take it and read no row, and the
    # account of the rows would stay empty.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    try:
        table = Dataset.from_generator(rows, cache_dir=str(folder / "cache"), features=features)
    except DatasetGenerationError as error:
        # What went wrong in a row is the cause; the library's own message hides it.
        raise (error.__cause__ or error) from None
    except ValueError:
        # Of a stream without rows the library makes no table; the message below says why.
        if account.fingerprints:
            raise
    if not account.fingerprints:
        raise ConfigError(f"no row is left of {', '.join(source['files'])}: {account.counts()}")
    finish(table).save_to_disk(str(folder / "table"))
    fingerprint = sha256_of_lines(account.fingerprints)
    report = {"source": source, **account.counts(), "fingerprint": fingerprint}
    (folder / FINGERPRINTS_FILE).write_text("\n".join(account.fingerprints) + "\n", "ascii")
    replace_file(folder / REPORT_FILE, json.dumps(report, indent=2) + "\n")
    return PairTable(load_from_disk(str(folder / "table")), account.fingerprints, report)


def _readers(files: Sequence[Path], data: AlignData, split: str | None) -> list[PairReader]:
    options = ReadOptions(
        image_root=data.image_root,
        bad_rows=data.bad_rows,
        missing_images=data.missing_images,
        max_image_bytes=data.max_image_bytes,
        max_image_pixels=data.max_image_pixels,
    )
    columns = columns_of(*data.columns) if data.columns else None
    return [reader_of(file, data.form, options, columns, split=split) for file in files]


@dataclass
class _Account:
    """Rows on their way into the table, counted."""

    fingerprints: list[str] = field(default_factory=list)
    readers: list[PairReader] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    ties: int = 0
    has_number: bool = False

    def rows(
        self,
        readers: list[PairReader],
        number: str | None,
        optional: bool,
        check: Check | None,
        leaves_out: bool,
    ) -> Iterator[dict[str, Any]]:
        for reader in readers:
            # Before its first pair: a file without any good row counts as well.
            self.readers.append(reader)
            for pair in reader:
                if pair.is_tie:
                    self.ties += 1
                    continue
                row = row_of(pair, number, optional=optional)
                try:
                    if check is not None:
                        check(row)
                except RowError as error:
                    if not leaves_out:
                        raise
                    self.unusable.append(str(error))
                    continue
                self.fingerprints.append(pair.fingerprint())
                self.has_number |= number is not None and number in pair.extra
                yield row

    def counts(self) -> dict[str, Any]:
        summaries = [reader.summary for reader in self.readers]
        return {
            "pairs": len(self.fingerprints),
            "rows": sum(one.rows for one in summaries),
            "ties": self.ties,
            "bad": sum(one.bad for one in summaries),
            "missing_images": sum(one.missing_images for one in summaries),
            "unusable": len(self.unusable),
            "left_out": [
                *(str(row) for one in summaries for row in (*one.bad_rows, *one.missing_rows)),
                *self.unusable[:_MAX_LISTED],
            ],
        }


def sha256_of_lines(fingerprints: Sequence[str]) -> str:
    """Of a set of rows: over their own fingerprints, in order."""
    return hashlib.sha256("\n".join(fingerprints).encode("ascii")).hexdigest()


def row_of(pair: PreferencePair, number: str | None, *, optional: bool = False) -> dict[str, Any]:
    """A pair as one row of the table.

    Raises:
        RowError: a video; no such column, or a value that is no finite number.
    """
    if pair.video is not None:
        raise RowError(f"{pair.where}: a video: preference training takes images only")
    row = {
        "where": str(pair.where),
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
        "images": [
            {"path": None if one.path is None else str(one.path), "bytes": one.content}
            for one in pair.images
        ],
    }
    if number is None:
        return row
    if number not in pair.extra and not optional:
        raise RowError(f"{pair.where}: no column {number!r}: `mmreward annotate` writes it")
    value, status = pair.extra.get(number), pair.extra.get("status")
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (good and math.isfinite(value)):
        raise RowError(f"{pair.where}: {number} is no finite number: {value!r}")
    return {**row, number: value, "status": None if status is None else str(status)}


def _features(number: str | None) -> Any:
    from datasets import Features, Value

    text = Value("large_string")
    return Features(
        {
            **dict.fromkeys(("where", "prompt", "chosen", "rejected"), text),
            "images": [{"path": text, "bytes": Value("large_binary")}],
            **({} if number is None else {number: Value("float64"), "status": text}),
        }
    )
