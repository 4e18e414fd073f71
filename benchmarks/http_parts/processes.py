"""Starting the processes of a run, giving them orders, and adding up their CPU seconds."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PARTS = Path(__file__).resolve().parent
START_TIMEOUT_S = 900.0


class Worker:
    """A child process that takes one line of JSON and answers with one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.read_line())
        return answer

    def read_line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}; see its log")
        return line.strip()


@contextlib.contextmanager
def worker(script: str, *arguments: str, log: IO[str]) -> Iterator[Worker]:
    """A script of this folder; it ends when its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, str(PARTS / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        yield Worker(process)
    finally:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        _stop(process, patience_s=30)


@contextlib.contextmanager
def service(
    checkpoint: Path | None, dtype: str, log: IO[str], settings: dict[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """`mmreward-serve`, ready; yields (pid, port). No checkpoint: it serves the fake engine."""
    port = free_port()
    command = [sys.executable, "-m", "mmreward_service", "--port", str(port)]
    command += ["--engine", "fake"] if checkpoint is None else [str(checkpoint), "--dtype", dtype]
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env={**os.environ, **(settings or {})}
    )
    try:
        _wait_until_ready(process, port)
        yield process.pid, port
    finally:
        process.terminate()
        _stop(process, patience_s=60)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}; see its log")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    raise RuntimeError(f"the service was not ready after {START_TIMEOUT_S:.0f} s")


def _stop(process: subprocess.Popen[Any], patience_s: float) -> None:
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tree_cpu_s(pid: int) -> dict[str, float]:
    """CPU seconds so far of a process and of its descendants, by what they are."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = {"own": 0.0, "children": 0.0}
    for one in [pid, *descendants(pid)]:
        try:
            # After the name in parentheses, which may hold blanks, utime and stime are 12 and 13.
            fields = (
                Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            )
        except OSError:
            continue
        used["own" if one == pid else "children"] += (int(fields[11]) + int(fields[12])) / ticks
    return used


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found
