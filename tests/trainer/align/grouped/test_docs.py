"""docs/grouped-rl.md: its script runs as it stands, and its settings are settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmreward_client.testing import LocalService
from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.align.grouped.figures import REASONS
from mmreward_trainer.critique.configuration import load_settings

from .conftest import by_letter

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "grouped-rl.md").read_text()
URL = "http://127.0.0.1:8000"


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_script_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder of its own, against a service whose address alone is another."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    with LocalService(by_letter) as service:
        script = block("python")
        assert URL in script
        exec(compile(script.replace(URL, service.url), "grouped-rl.md", "exec"), {})
        assert service.asked
        assert all(len(one.items[0]["responses"]) == 4 for one in service.asked)
        assert all(len(one.items[0]["images"]) == 1 for one in service.asked)
    share, counts = capsys.readouterr().out.strip().splitlines()[-1].split(" ", 1)
    assert 0 <= float(share) < 1
    assert "'completions': 16" in counts


def test_the_settings_are_settings(tmp_path: Path) -> None:
    """Every name in the TOML block is one, and the table has every reason."""
    (tmp_path / "grouped.toml").write_text(block("toml"))
    settings = load_settings(GroupedSettings, tmp_path / "grouped.toml", {})
    assert len(settings.service.urls) == 2
    assert settings.rl.completions == 5
    for reason in REASONS:
        assert f"| `{reason}` |" in PAGE
