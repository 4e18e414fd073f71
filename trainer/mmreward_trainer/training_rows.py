"""Which rows a checkpoint was trained on: a side file of fingerprints, and the search for overlap.

A calibration or an evaluation on rows that the model was trained on is worth nothing, and nobody
notices it from the figures. So a training run writes what it saw beside the weights:

    training_rows.u64     the first 64 bits of `PreferencePair.fingerprint()` of every row, each
                          row once, sorted, 8 bytes each (big-endian), nothing else

and `training_rows` of the reward object names the file with its SHA-256:

    {"fingerprints": "training_rows.u64", "sha256": "...", "rows": 80000, "distinct": 79991}

A model that was trained from another one has the rows of both. Where those of the other are not
known, `"earlier": "unknown"` stands beside: what is found was trained on, what is not found may
have been.

A million rows are 8 MB. The order of the rows does not matter, so `sha256` is also a fingerprint of
the training set as a set. Two different rows share 64 bits with a chance of 5e-20: among a million
training rows and ten thousand validation rows one false alarm is expected in two thousand million
such comparisons.

What is found is what the fingerprint covers: the same prompt, answers, label and picture bytes. A
picture that was encoded anew, other frames of the same video or exchanged answers are not found.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mmreward_client.data import PreferencePair
from mmreward_client.data.trained_rows import fingerprint_prefix
from mmreward_client.file_replacement import replace_file
from mmreward_service.reward.spec import RewardSpec
from numpy.typing import NDArray

FINGERPRINTS_FILE = "training_rows.u64"
EARLIER = "earlier"
_BYTES_PER_ROW = 8


class TrainingRowsError(ValueError):
    """The side file is missing, damaged or not the one that config.json names."""


class TrainingRowsUnknown(TrainingRowsError):
    """The checkpoint does not list its training rows: no overlap can be looked for."""


def write_training_rows(folder: Path, fingerprints: Iterable[str]) -> dict[str, Any]:
    """Write the side file of a checkpoint folder, replacing one that is there.

    Args:
        folder: the checkpoint folder; it must exist.
        fingerprints: `PreferencePair.fingerprint()` of every row that was trained on, in any order;
            read once, 8 bytes of memory a row.

    Returns:
        What belongs into `training_rows` of the reward object; more may be added beside it.

    Raises:
        ValueError: a fingerprint is not a SHA-256 in lower-case hexadecimal.
        OSError: the file cannot be written.
    """
    prefixes = array("Q")
    for fingerprint in fingerprints:
        prefixes.append(fingerprint_prefix(fingerprint))
    distinct = np.unique(np.frombuffer(prefixes, dtype=np.uint64))
    content = distinct.astype(">u8").tobytes()
    replace_file(folder / FINGERPRINTS_FILE, content)
    return {
        "fingerprints": FINGERPRINTS_FILE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(prefixes),
        "distinct": len(distinct),
    }


def overlap(
    folder: Path, spec: RewardSpec, pairs: Iterable[PreferencePair]
) -> list[PreferencePair]:
    """The pairs that the checkpoint was trained on, in their order.

    Raises:
        TrainingRowsUnknown: the checkpoint names no side file.
        TrainingRowsError: the side file is missing, damaged or another one.
        InvalidInput: a picture of a pair cannot be read.
    """
    known = read_training_rows(folder, spec)
    return [pair for pair in pairs if holds(known, pair.fingerprint())]


def read_training_rows(folder: Path, spec: RewardSpec) -> NDArray[np.uint64]:
    """The sorted 64-bit prefixes of a checkpoint's training rows.

    Raises:
        TrainingRowsUnknown: the checkpoint names no side file.
        TrainingRowsError: the side file is missing, damaged or another one.
    """
    name = spec.training_rows.get("fingerprints")
    if name is None:
        raise TrainingRowsUnknown(f"{folder}/config.json lists no fingerprints of training rows")
    if not isinstance(name, str) or Path(name).name != name or name in {"", ".", ".."}:
        raise TrainingRowsError(f"{folder}/config.json: fingerprints {name!r} is no file name")
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingRowsError(f"{path}: {error.strerror}") from error
    found, expected = hashlib.sha256(content).hexdigest(), spec.training_rows.get("sha256")
    if found != expected:
        raise TrainingRowsError(f"{path} has SHA-256 {found}, config.json says {expected}")
    if len(content) % _BYTES_PER_ROW:
        raise TrainingRowsError(f"{path}: {len(content)} bytes are no multiple of 8")
    known = np.frombuffer(content, dtype=">u8").astype(np.uint64)
    if (known[1:] <= known[:-1]).any():
        raise TrainingRowsError(f"{path} is not sorted")
    return known


def holds(known: NDArray[np.uint64], fingerprint: str) -> bool:
    """Whether a row is among those of `read_training_rows`.

    Raises:
        ValueError: the fingerprint is not a SHA-256 in lower-case hexadecimal.
    """
    value = np.uint64(fingerprint_prefix(fingerprint))
    place = int(np.searchsorted(known, value))
    return place < len(known) and bool(known[place] == value)
