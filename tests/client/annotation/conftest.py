"""Data sets for the annotating tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service_kit import picture


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures beside the data."""
    for number in range(3):
        picture(shade=40 * number).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as a JSONL file."""

    def write(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write
