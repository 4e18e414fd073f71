"""The examples of docs/metrics.md run as they stand, against the service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmreward_client.hooks import StepLog
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.metrics import service_levels
from service_kit.threaded import running

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_python_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks in order, in one namespace; two steps are printed."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    with running(FakeEngine()) as url:
        code = "\n".join(blocks).replace("http://127.0.0.1:8000", url)
        space: dict[str, object] = {}
        exec(compile(code, "docs/metrics.md", "exec"), space)
        space["client"].close()  # type: ignore[attr-defined]
    assert capsys.readouterr().out.count("'reward/status/ok': 2.0") == 2


def test_every_key_of_a_step_is_named() -> None:
    """What StepLog gives, and nothing else, stands on the page."""
    told = set(re.findall(r"`(reward/[a-z_]+)`", PAGE))
    assert told == set(StepLog().step())


def test_the_promises_are_those_of_the_code() -> None:
    """Seconds and shares in the text, and the boundary in the query."""
    levels = service_levels
    assert f"within {levels.LATENCY_SLO_S:g} s in {levels.LATENCY_SLO_RATIO:.0%}".replace(
        "%", " %"
    ) in " ".join(PAGE.split())
    assert f"{levels.AVAILABILITY_SLO_RATIO * 100:g} %" in PAGE
    assert f'le="{levels.LATENCY_SLO_S:.1f}"' in PAGE
