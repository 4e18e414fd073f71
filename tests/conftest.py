"""What every test folder shares: naming the tests that a run left out, also by parallel workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

# Set before anything imports torch. Two workers whose kernels each want every core wait for one
# another most of the time.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of a test: the first example of a fresh environment alone takes a
# second, because hypothesis builds its table of characters then.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_left_out: list[str] = []


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    _left_out.extend(item.nodeid for item in items if item.get_closest_marker("soak"))
    _left_out.extend(item.nodeid for item in items if item.get_closest_marker("gpu"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = _left_out


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Of pytest-xdist: a worker has ended. All workers leave out the same tests."""
    _left_out.extend(getattr(node, "workeroutput", {}).get("left_out", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.section(
            "left out: soak (run by `make soak`) and gpu (needs a CUDA device)"
        )
        for name in dict.fromkeys(_left_out):
            terminalreporter.write_line(name)
