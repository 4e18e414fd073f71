"""What every test folder shares: naming the tests that a run left out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

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
