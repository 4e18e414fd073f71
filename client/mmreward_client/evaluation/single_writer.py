"""One process writes a file: a lock on the open file, which ends with the process in any case.

The lock is advisory (`flock`): it keeps out other runs of these commands, not an editor. A killed
process leaves no stale lock behind. Where the system has no `flock` (Windows), nothing is locked.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, BinaryIO

from mmreward_client.errors import InvalidInput


def lock(file: BinaryIO, path: Path) -> None:
    """Take the lock of an open file, without waiting for it.

    Raises:
        InvalidInput: another process has it.
        OSError: the file system knows no locks.
    """
    try:
        # By name, so that the types are the same where it does not exist.
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InvalidInput(
            f"{path} is being written by another process: wait for it, or name another file"
        ) from None


def open_locked(path: Path) -> BinaryIO:
    """The file, opened for appending and locked; it is made if it is not there.

    Raises:
        InvalidInput: another process has its lock.
        OSError: the file cannot be opened, or the file system knows no locks.
    """
    while True:
        file = path.open("a+b")
        try:
            lock(file, path)
            if _is_still(file, path):
                return file
        except BaseException:
            file.close()
            raise
        # Between opening and locking the file was replaced: the lock is on what is gone.
        file.close()


def _is_still(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
