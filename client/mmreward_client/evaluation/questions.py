"""The rows of a benchmark as pairs that can be sent, each with a key that knows it again.

The rows are kept as they are, since an answer file is the benchmark's own rows with the rewards
added (`question_rows` tells what becomes of pictures inside them); what they mean is read by
`mmreward_client.data`. A row that cannot be sent keeps its place and says why; a line that is no
row at all (no JSON object, no id) ends the reading before anything is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.forms import build_of, default_root, rows_of
from mmreward_client.data.media import RowMedia
from mmreward_client.data.mm_rlhf import build_mm_rlhf
from mmreward_client.data.options import ReadOptions
from mmreward_client.data.pair import ImageSource, PreferencePair
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.reader import BuildPair
from mmreward_client.data.source import SourceRow
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answers import judged
from mmreward_client.evaluation.question_rows import answer_row, plain_row
from mmreward_client.evaluation.resuming import Key

# What an answer file adds to a row; left out of the key, so that answers can be asked anew.
ANSWER_FIELDS = (
    *("rewards", "critic", "delta", "orders", "prob", "status", "error"),
    *("fingerprint", "request", "row_sha256"),
)


@dataclass(frozen=True)
class Question:
    """One row.

    Attributes:
        row: as it stands in the answer file, without what that adds.
        item: the pair as `RewardClient.pairs` takes it, with paths for pictures in files.
        error: why it cannot be sent; None if it can.
    """

    row: dict[str, Any]
    key: Key
    line: int
    item: dict[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class QuestionFile:
    """A benchmark that can be passed over again and again; one row is in memory at a time.

    Attributes:
        form: one of `data.forms.FORMS`; None: JSON lines, parquet or a saved dataset with MM-RLHF's
            columns, media or not.
        columns, split: as `data.forms.reader_of` takes them.
    """

    path: Path
    options: ReadOptions
    mode: str
    form: str | None = None
    columns: Columns | None = None
    split: str | None = None

    def __iter__(self) -> Iterator[Question]:
        return read_questions(
            self.path,
            self.options,
            mode=self.mode,
            form=self.form,
            columns=self.columns,
            split=self.split,
        )


def read_questions(
    path: Path,
    options: ReadOptions,
    *,
    mode: str,
    form: str | None = None,
    columns: Columns | None = None,
    split: str | None = None,
) -> Iterator[Question]:
    """The rows of a file or saved dataset in order; empty lines are skipped.

    Args:
        options: where pictures are and how videos are sampled; its policies do not matter here.
        form, columns, split: see `QuestionFile`.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a line is no row of a benchmark (the message begins with file and line), or
            there is no such form or split.
    """
    build = _pair if form is None else build_of(form, columns)
    media = RowMedia.of(options, default_root(path))
    seen: Counter[str] = Counter()
    for source in rows_of(path, split)():
        try:
            if source.error is not None:
                raise InvalidInput(source.error)
            fields = _own_fields(dict(source.fields))
            item, pair, problem = _item(replace(source, fields=fields), media, mode, build)
            row = answer_row(plain_row(fields), pair, form, source.where.line)
            judged({**row, "rewards": None})  # what could not be read back with its rewards
        except InvalidInput as error:
            raise InvalidInput(f"{source.where}: {error}") from None
        digest = row_sha256(row)
        key = (digest, seen[digest])
        seen[digest] += 1
        if pair is None:
            item = {"id": str(row["id"])}
        yield Question(row, key, source.where.line, item, problem)


def row_sha256(row: dict[str, Any]) -> str:
    """SHA-256 of a row's canonical JSON, without what an answer file adds."""
    canonical = json.dumps(_own_fields(row), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _own_fields(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ANSWER_FIELDS}


def _item(
    source: SourceRow, media: RowMedia, mode: str, build: BuildPair
) -> tuple[dict[str, Any], PreferencePair | None, str | None]:
    """What is sent, and the pair; or nothing, no pair, and why."""
    try:
        pair = build(source, media)
    except FieldProblem as error:
        return {}, None, str(error)
    item: dict[str, Any] = {"id": pair.id, "mode": mode, "prompt": pair.prompt}
    item |= {"chosen": pair.chosen, "rejected": pair.rejected}
    if mode == "given":
        item["chosen_critique"] = pair.chosen_reason
        item["rejected_critique"] = pair.rejected_reason
    if pair.images:
        item["images"] = [_sendable(image) for image in pair.images]
    if pair.video is not None:
        frames = [_sendable(frame) for frame in pair.video.frames]
        item["video"] = {"frames": frames, "fps": pair.video.fps}
    return item, pair, None


def _pair(source: SourceRow, media: RowMedia) -> PreferencePair:
    """With media, placeholders such as `<image>` leave the prompt, as in the released code."""
    if any(source.fields.get(name) for name in ("image", "images", "video")):
        return build_mm_rlhf(source, media)
    return pair_of_row(source, media, Columns(id="id"))


def _sendable(image: ImageSource) -> str | bytes:
    """Opened when its batch is sent, not before: a benchmark need not fit into memory."""
    if image.content is not None:
        return image.content
    return str(image.path)
