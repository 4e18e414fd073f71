"""`make monitoring`: everything comes up, is drawn, and is gone in the end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.soak, pytest.mark.timeout(1800)]


def start(monitoring: Path, *arguments: str) -> subprocess.Popen[str]:
    """In a session of its own, as in a terminal of its own.

    SIGINT is not ignored there, as it is by all that a shell starts in the background.
    """
    command = [sys.executable, "-u", str(monitoring / "run.py"), *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def processes_of(session: int) -> list[str]:
    answer = subprocess.run(
        ["ps", "-o", "args=", "-s", str(session)], capture_output=True, text=True, check=False
    )
    return answer.stdout.splitlines()


def test_a_bounded_run_draws_every_board(
    tool: Callable[[str], Path], monitoring: Path, tmp_path: Path
) -> None:
    """Exit code 0, three pictures, no alert under normal load, and no process left."""
    tool("prometheus")
    process = start(monitoring, "--seconds", "30", "--pictures", str(tmp_path))
    said, _ = process.communicate(timeout=1500)
    assert process.returncode == 0, said
    assert {path.name for path in tmp_path.glob("*.png")} == {
        f"dashboard-{name}.png" for name in ("service", "reward", "engine")
    }
    assert re.findall(r"alerts: (\w+)", said)
    assert set(re.findall(r"alerts: (\w+)", said)) == {"none"}
    assert processes_of(process.pid) == []


def test_ctrl_c_ends_all_of_it(tool: Callable[[str], Path], monitoring: Path) -> None:
    """As a terminal sends it: to every process of the session at once."""
    import os

    tool("prometheus")
    process = start(monitoring)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)
    said = process.stdout.read()
    assert process.wait(120) == 0, said
    assert "stopped" in said
    assert "Traceback" not in said
    assert processes_of(process.pid) == []
