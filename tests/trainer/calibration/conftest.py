"""Validation pairs whose answers a service gave, and a checkpoint that was trained on others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calibration_kit import train_on
from reward_folders import make_folder
from service_kit import picture


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eighty pictures, no two alike."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(80):
        picture(shade=3 * number).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def write(pictures: Path) -> Callable[[str, list[dict[str, Any]]], Path]:
    """Writes rows beside the pictures as JSON lines."""

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = pictures / name
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        return path

    return write


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder whose training rows are known, and none."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    make_folder(folder)
    train_on(folder, None)
    return folder
