"""The real service on its fake engine, and benchmark files for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mmreward_service.engine.fake import FakeEngine
from service_kit import picture
from service_kit.threaded import running


@pytest.fixture
def make_service() -> Iterator[Callable[[FakeEngine], str]]:
    """Starts services that end with the test."""
    with ExitStack() as stack:
        yield lambda engine: stack.enter_context(running(engine))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures as a benchmark has them: by category, one video of five frames."""
    root = tmp_path / "pictures"
    for category in ("mcq", "short"):
        (root / category).mkdir(parents=True)
        for number in range(3):
            picture(shade=40 * number).save(root / category / f"{number}.png")
    (root / "video" / "clip").mkdir(parents=True)
    for number in range(5):
        picture(shade=50 * number).save(root / "video" / "clip" / f"{number}.png")
    return root


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as a JSONL file."""

    def write(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write
