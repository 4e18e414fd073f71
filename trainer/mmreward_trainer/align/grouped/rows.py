"""Prompts with pictures as an Arrow table on disk.

The table is made once in the folder of the run and read again when the run is resumed. It keeps
paths of pictures, or their bytes where a row held them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.forms import build_of, columns_of, default_root, rows_of
from mmreward_client.data.media import RowMedia
from mmreward_client.data.options import ReadOptions
from mmreward_client.data.pair import PreferencePair
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.reader import BuildPair, PairReader
from mmreward_client.data.source import SourceRow

from mmreward_trainer.align.grouped.configuration import GroupedData
from mmreward_trainer.align.rows import PairTable, build_table
from mmreward_trainer.critique.rows import RowError

_MAX_LISTED = 1000
Check = Callable[[dict[str, Any]], object]
"""Encodes a row of the table, or raises RowError."""

_NO_ANSWER = "."
"""Stands where a reader of pairs wants an answer; it is in no row of the table."""


def build_prompts(
    files: Sequence[Path],
    data: GroupedData,
    folder: Path,
    special: Sequence[str],
    *,
    split: str | None = None,
    check: Check | None = None,
) -> PairTable:
    """Read files into `folder`, or take what an earlier call left there.

    A prompt that comes again with the same pictures, as in sets with several pairs of answers to
    it, is taken once.

    Args:
        special: texts of the policy's special tokens, which no prompt may spell.
        check: rows that it refuses with RowError are left out and counted.
    Raises:
        InvalidInput: a row is wrong or its picture missing, and the policy is `error`.
        ConfigError: no row is left, or the folder holds other data.
    """
    from datasets import Features, Value

    settings = data.model_dump(
        mode="json", exclude={"train", "validation", "train_split", "validation_split", "workers"}
    )
    source = {"files": [str(file) for file in files], "split": split, "data": settings}
    account = _Account()
    text = Value("large_string")
    features = Features(
        {
            "where": text,
            "prompt": text,
            "pictures": [{"path": text, "bytes": Value("large_binary")}],
            "answer": [text],
        }
    )

    def rows() -> Iterator[dict[str, Any]]:
        readers = [_reader(file, data, split, special) for file in files]
        return account.rows(readers, data.answer_column, check)

    return build_table(folder, source, account, rows, features)


def _reader(file: Path, data: GroupedData, split: str | None, special: Sequence[str]) -> PairReader:
    """The rows of a file as pairs whose answers do not matter."""
    options = ReadOptions(
        image_root=data.image_root,
        bad_rows=data.bad_rows,
        missing_images=data.missing_images,
        max_image_bytes=data.max_image_bytes,
        max_image_pixels=data.max_image_pixels,
    )
    named = columns_of(*data.columns) if data.columns else None
    build = _of_prompts(named or Columns()) if data.form == "pairs" else build_of(data.form, named)

    def checked(row: SourceRow, media: RowMedia) -> PreferencePair:
        pair = build(row, media)
        _refuse(pair, data.answer_column, special)
        return replace(pair, chosen=_NO_ANSWER, rejected=_NO_ANSWER, is_tie=False)

    return PairReader(
        rows_of(file, split), checked, RowMedia.of(options, default_root(file)), options
    )


def _of_prompts(columns: Columns) -> BuildPair:
    """A row that has a prompt and pictures, and need not have answers."""

    def build(row: SourceRow, media: RowMedia) -> PreferencePair:
        answers = {columns.chosen: _NO_ANSWER, columns.rejected: _NO_ANSWER}
        return pair_of_row(replace(row, fields={**row.fields, **answers}), media, columns)

    return build


def _refuse(pair: PreferencePair, answer_column: str, special: Sequence[str]) -> None:
    """Refuse what no policy can be trained on.

    Raises:
        FieldProblem: a video; a prompt that spells a special token, which the chat template would
            make one; an answer that is neither text nor number.
    """
    if pair.video is not None:
        raise FieldProblem("video", "policies are trained on images only")
    found = next((one for one in special if one in pair.prompt), None)
    if found is not None:
        raise FieldProblem("prompt", f"spells the special token {found!r}")
    if any(not isinstance(one, str | int | float) for one in _answers(pair, answer_column)):
        raise FieldProblem(answer_column, "is neither text nor number")


def _answers(pair: PreferencePair, column: str) -> list[Any]:
    value = pair.extra.get(column)
    answers = value if isinstance(value, list | tuple) else [value]
    return [one for one in answers if one is not None]


@dataclass
class _Account:
    """Rows on their way into the table, counted."""

    fingerprints: list[str] = field(default_factory=list)
    readers: list[PairReader] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    repeated: int = 0
    with_answer: int = 0

    def rows(
        self, readers: list[PairReader], answer_column: str, check: Check | None
    ) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        for reader in readers:
            # Before its first row: a file without any good row counts as well.
            self.readers.append(reader)
            for pair in reader:
                fingerprint = pair.fingerprint()
                if fingerprint in seen:
                    self.repeated += 1
                    continue
                seen.add(fingerprint)
                answers = [str(one) for one in _answers(pair, answer_column)]
                row = {
                    "where": str(pair.where),
                    "prompt": pair.prompt,
                    "pictures": [
                        {"path": None if one.path is None else str(one.path), "bytes": one.content}
                        for one in pair.images
                    ],
                    "answer": answers or None,
                }
                try:
                    if check is not None:
                        check(row)
                except RowError as error:
                    self.unusable.append(str(error))
                    continue
                self.fingerprints.append(fingerprint)
                self.with_answer += bool(answers)
                yield row

    def counts(self) -> dict[str, Any]:
        summaries = [reader.summary for reader in self.readers]
        left_out = [str(row) for one in summaries for row in (*one.bad_rows, *one.missing_rows)]
        return {
            "prompts": len(self.fingerprints),
            "with_answer": self.with_answer,
            "rows": sum(one.rows for one in summaries),
            "repeated": self.repeated,
            "bad": sum(one.bad for one in summaries),
            "missing_images": sum(one.missing_images for one in summaries),
            "unusable": len(self.unusable),
            "left_out": left_out + self.unusable[:_MAX_LISTED],
        }
