"""What every test folder shares: naming the tests that a run left out."""

from __future__ import annotations

from collections.abc import Sequence

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.section(
            "left out: soak (run by `make soak`) and gpu (needs a CUDA device)"
        )
        for name in dict.fromkeys(_left_out):
            terminalreporter.write_line(name)
