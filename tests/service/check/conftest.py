from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmreward_service.check.report import Report, check_checkpoint
from mmreward_service.settings import Settings
from service_kit.real import DIGITS


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of the bundled checkpoint, to be broken."""
    folder = tmp_path / "digits"
    shutil.copytree(DIGITS, folder)
    return folder


@pytest.fixture
def edit(digits: Path) -> Callable[[Callable[[dict[str, Any]], object]], None]:
    """Changes config.json of the copy."""

    def change_config(change: Callable[[dict[str, Any]], object]) -> None:
        file = digits / "config.json"
        config = json.loads(file.read_text())
        change(config)
        file.write_text(json.dumps(config))

    return change_config


def check(folder: Path, **settings: Any) -> Report:
    return check_checkpoint(folder, Settings(checkpoint=folder, **settings))


def problems(report: Report) -> list[str]:
    return [f"{finding.topic}: {finding.text}" for finding in report.findings.problems]
