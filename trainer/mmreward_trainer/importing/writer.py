"""Writes the shards of an import: the bytes of each tensor copied, its name exchanged.

A safetensors file is a JSON header and raw bytes, so renaming needs a new header and no tensor in
memory: types and bits stay as they are, and the peak is one buffer, however large the model is.
Rows that a vocabulary gains are zeros written behind the copied ones.

Each shard is written beside its place and moved there when it is whole. A shard that is already
there, with the header that it is to have, is kept: that is how an interrupted import goes on.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmreward_service.check.headers import (
    DTYPE_BITS,
    INDEX_FILE,
    SINGLE_FILE,
    HeaderError,
    TensorEntry,
    read_header,
)

BUFFER_BYTES = 16 << 20


@dataclass(frozen=True)
class Written:
    """A tensor to write: copied from `source` and filled up with zeros, or zeros alone."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: TensorEntry | None

    @property
    def size_bytes(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count * DTYPE_BITS[self.dtype] // 8


def write_shards(
    shards: list[list[Written]], folder: Path, progress: Callable[[int], None]
) -> list[Path]:
    """Write all shards, and their index if there are several.

    Args:
        progress: called with the number of bytes since the last call.
    """
    files = []
    for number, tensors in enumerate(shards, 1):
        name = SINGLE_FILE
        if len(shards) > 1:
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        file = folder / name
        if _is_whole(file, tensors):
            progress(sum(tensor.size_bytes for tensor in tensors))
        else:
            _write(file, tensors, progress)
        files.append(file)
    if len(shards) > 1:
        _write_index(folder, shards, files)
    return files


def _write(file: Path, tensors: list[Written], progress: Callable[[int], None]) -> None:
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as target:
        header = _header(tensors)
        target.write(struct.pack("<Q", len(header)) + header)
        for tensor in tensors:
            copied = 0
            if tensor.source is not None:
                copied = tensor.source.size_bytes
                with tensor.source.file.open("rb") as stream:
                    stream.seek(tensor.source.start)
                    left = copied
                    while left:
                        block = stream.read(min(BUFFER_BYTES, left))
                        if not block:
                            raise HeaderError(f"{tensor.source.file} ended while it was read")
                        target.write(block)
                        left -= len(block)
                        progress(len(block))
            missing = tensor.size_bytes - copied
            while missing:
                block = bytes(min(BUFFER_BYTES, missing))
                target.write(block)
                missing -= len(block)
                progress(len(block))
        target.flush()
        os.fsync(target.fileno())
    partial.replace(file)


def _header(tensors: list[Written]) -> bytes:
    listing: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        end = offset + tensor.size_bytes
        listing[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(listing, separators=(",", ":")).encode("utf-8")
    # Readers map tensors into memory: their bytes begin at a multiple of eight.
    return text + b" " * (-len(text) % 8)


def _is_whole(file: Path, tensors: list[Written]) -> bool:
    if not file.is_file():
        return False
    try:
        found = [(entry.name, entry.dtype, entry.shape) for entry in read_header(file)]
    except HeaderError:
        return False
    return found == [(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors]


def _write_index(folder: Path, shards: list[list[Written]], files: list[Path]) -> None:
    weight_map = {
        tensor.name: file.name
        for tensors, file in zip(shards, files, strict=True)
        for tensor in tensors
    }
    total = sum(tensor.size_bytes for tensors in shards for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    text = json.dumps(index, indent=2) + "\n"
    (folder / INDEX_FILE).write_text(text, encoding="utf-8")
