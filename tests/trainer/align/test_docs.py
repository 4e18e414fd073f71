"""The scripts of docs/mm-dpo.md and docs/dense-dpo.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmreward_trainer.align.configuration import MMDPOSettings
from mmreward_trainer.critique.configuration import load_settings

ROOT = Path(__file__).parents[3]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["mm-dpo.md", "dense-dpo.md"])
def test_the_script_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder of its own, with the bundled model; its last line prints what it promises."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    [script] = blocks(page, "python")
    space: dict[str, object] = {}
    exec(compile(script, page, "exec"), space)
    printed = float(capsys.readouterr().out.strip().splitlines()[-1])
    assert 0.1 <= printed <= 0.15 if page == "mm-dpo.md" else 0 < printed < 0.5


def test_the_settings_are_settings(tmp_path: Path) -> None:
    """Every name in the TOML block is one."""
    [text] = blocks("mm-dpo.md", "toml")
    (tmp_path / "mm-dpo.toml").write_text(text)
    settings = load_settings(MMDPOSettings, tmp_path / "mm-dpo.toml", {})
    assert settings.loss.rule == "paper"
