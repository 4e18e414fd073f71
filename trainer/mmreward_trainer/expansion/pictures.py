"""Pictures in the written file: references, all of them from one folder that the run states.

A path stays the path that it was, from the image root of the source. Pictures that lie inside rows
(parquet, `datasets`) cannot lie in JSON lines: each is written once, under its SHA-256, into a
folder beside the file, and the references start from the file's folder. A source that has both
kinds needs one root for both, so its image root must be the file's folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput
from mmreward_client.images import sniff

_SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
}


class References:
    """Turns the pictures of rows into references.

    Attributes:
        written: pictures that were written, or were there already.
    """

    def __init__(self, output: Path, image_root: Path | None) -> None:
        self._folder = output.parent / f"{output.name}.pictures"
        self._beside = output.parent
        self._image_root = image_root
        self._paths_where: str | None = None
        self._inside_where: str | None = None
        self.written = 0
        self._known: set[str] = set()

    @property
    def root(self) -> Path | None:
        """The folder that all references start from; None if there was no reference."""
        if self._inside_where is not None:
            return self._beside
        return self._image_root if self._paths_where is not None else None

    def of(self, value: Any, where: str) -> Any:
        """What stands in the written row for an image column, a video column, or a list of images.

        Args:
            where: the row, for messages.

        Raises:
            InvalidInput: both kinds of pictures, from two folders; no image among the bytes.
            OSError: a picture cannot be written.
        """
        if isinstance(value, list | tuple):
            return [self.of(one, where) for one in value]
        if isinstance(value, Mapping):
            if "frames" in value:
                return {**value, "frames": self.of(value["frames"], where)}
            content = value.get("bytes")
            value = content if content is not None else value.get("path")
        if isinstance(value, bytes | bytearray | memoryview):
            self._inside_where = self._inside_where or where
            self._check_one_root()
            return self._written(bytes(value), where)
        if value is not None:
            self._paths_where = self._paths_where or where
            self._check_one_root()
        return value

    def _check_one_root(self) -> None:
        if self._paths_where is None or self._inside_where is None:
            return
        if self._image_root is None or self._image_root.resolve() != self._beside.resolve():
            raise InvalidInput(
                f"{self._paths_where} names a picture by its path, {self._inside_where} holds one "
                "inside: write the file into the folder that the paths start from"
            )

    def _written(self, content: bytes, where: str) -> str:
        suffix = _SUFFIXES.get(sniff(content) or "")
        if suffix is None:
            raise InvalidInput(f"{where}: bytes that are no PNG, JPEG, WebP, GIF or BMP")
        name = hashlib.sha256(content).hexdigest() + suffix
        if name not in self._known:
            self._folder.mkdir(exist_ok=True)
            file = self._folder / name
            if not file.is_file() or file.stat().st_size != len(content):
                beside = file.with_suffix(".part")
                beside.write_bytes(content)
                beside.replace(file)
            self._known.add(name)
            self.written += 1
        return f"{self._folder.name}/{name}"
