"""The benchmark of live margins, from its command line at tiny size."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .test_smoke import read, run

pytestmark = pytest.mark.timeout(1200)


@pytest.mark.soak
def test_live_margins_beside_a_column(benchmarks: Path, tmp_path: Path) -> None:
    """All ways run the same steps; a service that is too slow is told as it is."""
    output = tmp_path / "loop.json"
    run(
        sys.executable,
        benchmarks / "loop.py",
        *("--rounds", "1", "--steps", "4", "--pairs", "2", "--look-ahead", "2", "--threads", "1"),
        *("--output", output),
    )
    found = read(output)
    ratios = {name: one["median"] for name, one in found["ratio_to_column"].items()}
    assert ratios["column"] == 1.0
    # Ten steps' worth of waiting, and an answer's: whatever the machine does besides.
    assert ratios["ahead_slow"] > 3
    assert ratios["in_step_slow"] > ratios["ahead_slow"]
    assert set(found["margin_wait_s"]) == {"ahead", "ahead_slow"}
    assert "goal: at most" in output.with_suffix(".md").read_text()
