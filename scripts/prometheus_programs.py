"""Unpack the system's own packages of Prometheus and Alertmanager below `.venv/prometheus`.

The tests of the monitoring ask a real Prometheus. Nothing is installed: packages are downloaded as
any user may, unpacked into a folder, and run from there; they need libc only. Where that cannot be
done (no apt-get, no network, no such package), the reason is left in a file and those tests are
skipped with it; it is not tried again until that file is removed. Standard library only.

    python scripts/prometheus_programs.py .venv/prometheus      make prometheus
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("prometheus", "prometheus-alertmanager")
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
REASON = "absent-because.txt"
TIMEOUT_S = 180
"""For all of it."""
IMPATIENT = (
    *("-o", "Acquire::Retries=1"),
    *("-o", "Acquire::http::Timeout=20"),
    *("-o", "Acquire::https::Timeout=20"),
)
"""A source that nobody answers at is given up soon."""


class NotToBeHad(Exception):
    """The packages could not be unpacked; the message says why, in a few words."""


def provide(folder: Path) -> str:
    """Bring the programs, or leave the reason; says in one line which."""
    folder = folder.absolute()  # the programs that unpack run elsewhere
    if all((folder / "usr" / "bin" / name).is_file() for name in PROGRAMS):
        return "Prometheus for the tests: kept"
    if all(shutil.which(name) for name in PROGRAMS):
        return "Prometheus for the tests: the installed one"
    if (folder / REASON).is_file():
        reason = (folder / REASON).read_text(encoding="utf-8").strip()
        return f"no Prometheus for the tests: {reason} (to try again: rm {folder / REASON})"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _unpack_into(folder, time.monotonic() + TIMEOUT_S)
    except NotToBeHad as error:
        (folder / REASON).write_text(f"{error}\n", encoding="utf-8")
        return f"no Prometheus for the tests, which will skip what needs it: {error}"
    return "Prometheus for the tests: unpacked from the system's packages"


def _unpack_into(folder: Path, until: float) -> None:
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise NotToBeHad(f"{' and '.join(missing)} not found")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        packages = _download(Path(scratch), until)
        unpacked = Path(scratch) / "unpacked"
        for package in packages:
            _run(["dpkg-deb", "--extract", str(package), str(unpacked)], Path(scratch), until)
        lacking = [name for name in PROGRAMS if not (unpacked / "usr" / "bin" / name).is_file()]
        if lacking:
            raise NotToBeHad(f"the packages hold no {' and no '.join(lacking)}")
        # Last and at once: a set-up that is interrupted before has brought nothing.
        (unpacked / "usr").rename(folder / "usr")


def _download(scratch: Path, until: float) -> list[Path]:
    """The packages, by the machine's own sources; with lists of packages of our own if it has none.

    Cache and lists are ours, so that nothing of the system is written, whoever runs this.
    """
    (scratch / "cache").mkdir()
    (scratch / "lists").mkdir()
    cache = ("-o", f"Dir::Cache={scratch / 'cache'}", "-o", "APT::Sandbox::User=root")
    private = (*cache, *IMPATIENT)
    own_lists = (*private, "-o", f"Dir::State::lists={scratch / 'lists'}")
    try:
        _run(["apt-get", *private, "download", *PACKAGES], scratch, until)
    except NotToBeHad:
        _run(["apt-get", *own_lists, "update"], scratch, until)
        _run(["apt-get", *own_lists, "download", *PACKAGES], scratch, until)
    return sorted(scratch.glob("*.deb"))


def _run(command: Sequence[str], folder: Path, until: float) -> None:
    left_s = max(0.0, until - time.monotonic())
    try:
        answer = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=left_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToBeHad(f"{command[0]}: {type(error).__name__}") from error
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["it failed"])[-1]
        raise NotToBeHad(f"{command[0]}: {last}")


if __name__ == "__main__":
    # Two of them at once (two terminals, two make targets) would remove each other's downloads.
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(provide(Path(sys.argv[1])))
