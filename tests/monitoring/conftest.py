"""The generator's folder is on the path, as Python puts it for the scripts in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
sys.path.append(str(MONITORING))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def monitoring() -> Path:
    return MONITORING


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Path of one of Prometheus's programs; the test is skipped, with the reason, without it."""
    from live.programs import Absent, find

    def path(name: str) -> Path:
        try:
            return find(name)
        except Absent as error:
            pytest.skip(str(error))

    return path


@pytest.fixture(scope="session")
def promtool(tool: Callable[[str], Path]) -> Run:
    """Runs promtool; the answer holds return code and both outputs."""
    program = tool("promtool")

    def run(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    return run
