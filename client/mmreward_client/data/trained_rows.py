"""Which pairs a checkpoint was trained on, looked up in the file beside its weights.

    training_rows.u64     the first 64 bits of `PreferencePair.fingerprint()` of every row, each
                          once, sorted, 8 bytes each (big-endian), nothing else

`training_rows` of the reward object in config.json names it with its SHA-256; `mmreward-train`
writes both. Found is what the fingerprint covers: the same prompt, answers, label and picture
bytes. A picture that was encoded anew or exchanged answers are not found.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput

_BYTES_PER_ROW = 8
_SHA256 = re.compile(r"[0-9a-f]{64}")


class TrainedRows:
    """The rows of one checkpoint.

    Args:
        path: the file itself, or the checkpoint folder that holds it.

    Raises:
        InvalidInput: no such file, none in the folder, or not the one that config.json names.
    """

    def __init__(self, path: Path) -> None:
        file, expected = _listed(path) if path.is_dir() else (path, None)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InvalidInput(f"{file}: {error.strerror}") from error
        found = hashlib.sha256(content).hexdigest()
        if expected is not None and found != expected:
            raise InvalidInput(f"{file} has SHA-256 {found}, config.json says {expected}")
        if len(content) % _BYTES_PER_ROW:
            raise InvalidInput(f"{file}: {len(content)} bytes are no multiple of {_BYTES_PER_ROW}")
        self._prefixes = array("Q", content)
        if sys.byteorder == "little":
            self._prefixes.byteswap()
        if any(a >= b for a, b in zip(self._prefixes, self._prefixes[1:], strict=False)):
            raise InvalidInput(f"{file} is not sorted: no file of training rows")

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, fingerprint: str) -> bool:
        value = fingerprint_prefix(fingerprint)
        place = bisect_left(self._prefixes, value)
        return place < len(self._prefixes) and self._prefixes[place] == value


def fingerprint_prefix(fingerprint: str) -> int:
    """The 64 bits that stand for a row.

    Raises:
        ValueError: not a SHA-256 in lower-case hexadecimal.
    """
    if not _SHA256.fullmatch(fingerprint):
        raise ValueError(f"{fingerprint!r:.80} is no SHA-256 in lower-case hexadecimal")
    return int(fingerprint[:16], 16)


def _listed(folder: Path) -> tuple[Path, str | None]:
    """The file that a checkpoint's config.json names, and its SHA-256."""
    config = folder / "config.json"
    try:
        reward = json.loads(config.read_bytes())["reward"]
        listed: dict[str, Any] = reward.get("training_rows") or {}
    except OSError as error:
        raise InvalidInput(f"{config}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{config} holds no reward object") from error
    name = listed.get("fingerprints")
    if not isinstance(name, str) or Path(name).name != name or name in {"", ".", ".."}:
        raise InvalidInput(f"{config} lists no fingerprints of training rows")
    return folder / name, listed.get("sha256")
