"""Put a file in place in one move: at every moment, after any crash, the old or the new content.

The content is written beside the file, brought to the disk (fsync), and only then given the name.
Where writing fails, or is interrupted, the old file is as it was and nothing is left beside it.
One process at a time may replace a file; `evaluation/single_writer.py` has locks for that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write the new content into; it takes the place of `path` when the block ends well.

    The permissions of a file that was there are kept.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def replace_file(path: Path, content: bytes | str) -> None:
    """Make `content` (text as UTF-8) the content of the file, as `replacing` does.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
