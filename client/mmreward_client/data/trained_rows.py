"""Which pairs a checkpoint was trained on, looked up in the file beside its weights.

    training_rows.u64     the first 64 bits of `PreferencePair.fingerprint()` of every row, each
                          once, sorted, 8 bytes each (big-endian), nothing else

`training_rows` of the reward object in config.json names it with its SHA-256; `mmreward-train`
writes both. Found is what the fingerprint covers: the same prompt, answers, label and picture
bytes. A picture that was encoded anew or exchanged answers are not found. Where `"earlier":
"unknown"` stands there, the model was trained from one whose rows are not all known.
"""

from __future__ import annotations

import contextlib
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
_EARLIER = "earlier"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class TrainedRows:
    """The rows of one checkpoint.

    Args:
        path: the file itself, or the checkpoint folder that holds it.

    Attributes:
        is_whole: whether what is not found was not trained on. A file alone does not tell, unless
            the config.json beside it names it; then it counts as whole.

    Raises:
        InvalidInput: no such file, none in the folder, or not the one that config.json names.
    """

    def __init__(self, path: Path) -> None:
        file, expected = path, None
        self.is_whole = True
        if path.is_dir():
            listed = _listed(path)
            file, expected = path / listed["fingerprints"], listed.get("sha256")
            self.is_whole = _EARLIER not in listed
        elif (path.parent / "config.json").is_file():
            with contextlib.suppress(InvalidInput):  # of something else
                listed = _listed(path.parent)
                self.is_whole = listed["fingerprints"] != path.name or _EARLIER not in listed
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


def _listed(folder: Path) -> dict[str, Any]:
    """What a checkpoint's config.json says of its training rows; it names their file."""
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
    return listed
