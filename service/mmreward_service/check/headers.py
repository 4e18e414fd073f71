"""The headers of safetensors files: names, types, shapes and places of tensors, and no tensor.

A file is eight bytes of length, a JSON object, and the bytes of the tensors. Reading the object
alone costs kilobytes where the file costs gigabytes, and needs neither torch nor numpy.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
MAX_HEADER_BYTES = 100_000_000
"""The limit that the format sets itself."""

DTYPE_BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
    "U8": 8,
    "BOOL": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
}


class HeaderError(ValueError):
    """A weight file that cannot be what it says it is; the message names the file."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file. `start` and `end` are offsets in bytes from the file's beginning."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.end - self.start


def read_header(file: Path) -> list[TensorEntry]:
    """The tensors of one file, in the order in which they lie in it.

    Raises:
        HeaderError: the file is missing, cut short, or not safetensors.
    """
    if not file.is_file():
        raise HeaderError(f"{file} does not exist")
    size = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise HeaderError(f"{file} is too short to be a safetensors file")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise HeaderError(f"{file} is not a safetensors file, or is cut short in its header")
        raw = stream.read(length)
    try:
        header = json.loads(raw)
        entries = [
            _entry(name, value, file, 8 + length)
            for name, value in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HeaderError(f"{file} has an unreadable header: {error}") from error
    entries.sort(key=lambda entry: entry.start)
    end = max((entry.end for entry in entries), default=8 + length)
    if end != size:
        raise HeaderError(
            f"{file} holds {size:,} bytes and its header promises {end:,}: an unfinished download?"
        )
    return entries


def _entry(name: str, value: dict[str, Any], file: Path, base: int) -> TensorEntry:
    start, end = value["data_offsets"]
    entry = TensorEntry(
        name, value["dtype"], tuple(value["shape"]), file, base + int(start), base + int(end)
    )
    bits = DTYPE_BITS.get(entry.dtype)
    if bits is None:
        raise ValueError(f"tensor {name} has the unknown type {entry.dtype!r}")
    if entry.size_bytes * 8 != entry.elements * bits:
        raise ValueError(f"tensor {name} does not have the size of its shape")
    return entry


def weight_file_names(folder: Path) -> list[str]:
    """Names of the safetensors files of a folder: those of its index, or the single one.

    Raises:
        HeaderError: the index cannot be read.
    """
    index = folder / INDEX_FILE
    if not index.is_file():
        return [SINGLE_FILE]
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HeaderError(f"{index} is not an index of weights: {error}") from error
    if outside := [name for name in names if Path(name).name != name]:
        raise HeaderError(f"{index} names files outside of the folder: {outside}")
    return names


def read_folder(folder: Path) -> tuple[list[TensorEntry], list[str]]:
    """All tensors of a folder, and a sentence for everything that is wrong with its files.

    What can be read is returned even where something else cannot.
    """
    problems: list[str] = []
    try:
        names = weight_file_names(folder)
    except HeaderError as error:
        return [], [str(error)]
    entries: list[TensorEntry] = []
    for name in names:
        try:
            entries += read_header(folder / name)
        except HeaderError as error:
            problems.append(str(error))
    if not problems and (folder / INDEX_FILE).is_file():
        problems += _index_problems(folder, entries)
    return entries, problems


def _index_problems(folder: Path, entries: list[TensorEntry]) -> list[str]:
    weight_map = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))["weight_map"]
    found = {(entry.name, entry.file.name) for entry in entries}
    promised = set(weight_map.items())
    problems = [
        f"{INDEX_FILE} promises {name} in {file}, where it is not"
        for name, file in sorted(promised - found)
    ]
    problems += [
        f"{file} holds {name}, of which {INDEX_FILE} knows nothing"
        for name, file in sorted(found - promised)
    ]
    return problems
