"""A scoring service in a process of its own that answers after a while, without computing.

python benchmarks/loop_service.py --latency 0.5     prints its address and serves until killed
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Annotated

import typer


def main(latency: Annotated[float, typer.Option(help="seconds of every answer", min=0)]) -> None:
    """Serve; requests wait side by side, however many they are."""
    from mmreward_client.testing import LocalService

    with LocalService(latency_s=latency) as service:
        print(service.url, flush=True)
        threading.Event().wait()


@contextlib.contextmanager
def serving(latency_s: float) -> Iterator[str]:
    """The address of such a process."""
    command = [sys.executable, __file__, "--latency", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


if __name__ == "__main__":
    typer.run(main)
