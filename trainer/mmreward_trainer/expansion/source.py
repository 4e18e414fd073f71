"""The pairs to expand, each with the row it came from, so that the row can be written again whole.

Where no pictures are sent none is opened: they need not be on this machine, and the pass over a
large set takes a fraction of the time. Paths are then not checked either; whoever trains on the
written file has a reader that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mmreward_client.data import Columns, ImageSource, PreferencePair, ReadOptions, VideoSource
from mmreward_client.data.forms import build_of, default_root, rows_of
from mmreward_client.data.media import RowMedia
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.reader import PairReader
from mmreward_client.data.source import SourceRow
from mmreward_client.errors import InvalidInput

from mmreward_trainer.expansion.rows import written_row


@dataclass(frozen=True)
class RowPair(PreferencePair):
    """A pair and its row as it will be written, but for reasons and pictures inside of it."""

    row: Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """A file or saved dataset of pairs, which can be passed over again and again.

    Attributes:
        form: one of `data.forms.FORMS`.
        opens_pictures: false leaves all pictures alone that lie in files.
    """

    path: Path
    form: str
    options: ReadOptions
    columns: Columns | None = None
    split: str | None = None
    opens_pictures: bool = False

    @property
    def image_root(self) -> Path | None:
        """The folder that paths in rows start from."""
        given = self.options.image_root
        return given if given is not None else default_root(self.path)

    def reader(self) -> PairReader:
        """A new reader; all that it gives are `RowPair`s.

        Raises:
            InvalidInput: no such form or split, or columns of a published form.
        """
        build = build_of(self.form, self.columns)
        kind = RowMedia if self.opens_pictures else UnopenedMedia
        media = kind.of(self.options, self.image_root)
        names = [one.name for one in fields(PreferencePair)]

        def with_row(row: SourceRow, media: RowMedia) -> PreferencePair:
            pair = build(row, media)
            written = written_row(row.fields, pair, self.form, self.columns)
            return RowPair(**{name: getattr(pair, name) for name in names}, row=written)

        return PairReader(rows_of(self.path, self.split), with_row, media, self.options)


def row_pairs(reader: PairReader) -> Iterator[RowPair]:
    """The pairs of a reader that `Source` made.

    Raises:
        BadRowError, MissingImageError, OSError, InvalidInput: as the reader.
    """
    for pair in reader:
        if not isinstance(pair, RowPair):
            raise InvalidInput("a reader of another kind: its pairs have no rows")
        yield pair


class UnopenedMedia(RowMedia):
    """What rows say of images and videos, believed: no file is looked for."""

    def images(self, value: Any, field: str) -> tuple[ImageSource, ...]:
        if value is None:
            return ()
        listed = value if isinstance(value, list | tuple) else [value]
        return tuple(_believed(one, field) for one in listed)

    def video(self, value: Any, field: str, source_fps: float | None) -> VideoSource | None:
        if value is None:
            return None
        frames = value.get("frames") if isinstance(value, Mapping) else value
        return VideoSource(self.images(frames, field), source_fps or self.source_fps)


def _believed(value: Any, field: str) -> ImageSource:
    if isinstance(value, Mapping):
        content = value.get("bytes")
        value = content if content is not None else value.get("path")
    if isinstance(value, bytes | bytearray | memoryview):
        return ImageSource(content=bytes(value))
    if not isinstance(value, str) or not value:
        raise FieldProblem(field, f"{type(value).__name__} where a path was expected")
    return ImageSource(path=Path(value))
