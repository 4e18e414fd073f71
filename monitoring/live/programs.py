"""Where Prometheus's programs are: fetched into `.venv`, or installed.

`make prometheus` unpacks the system's own packages below `.venv/prometheus`, where nothing is
installed for anybody else; where it could not, it left the reason there.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "prometheus"
REASON = FOLDER / "absent-because.txt"


class Absent(Exception):
    """A program is not on this machine; the message says which, and why."""


def find(name: str) -> Path:
    """Path of `prometheus`, `promtool`, `prometheus-alertmanager` or `amtool`.

    Raises:
        Absent: it is neither below `.venv/prometheus` nor on the PATH.
    """
    fetched = FOLDER / "usr" / "bin" / name
    if fetched.is_file():
        return fetched
    if installed := shutil.which(name):
        return Path(installed)
    reason = (
        REASON.read_text(encoding="utf-8").strip() if REASON.is_file() else "run make prometheus"
    )
    raise Absent(f"{name} is not on this machine: {reason}")
