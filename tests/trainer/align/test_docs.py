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
    space: dict[str, object] = {}
    printed = []
    for script in blocks(page, "python"):  # each goes on where the one before it ended
        exec(compile(script, page, "exec"), space)
        printed.append(float(capsys.readouterr().out.strip().splitlines()[-1]))
    if page == "mm-dpo.md":
        mean_beta, wait_s = printed
        assert 0.1 <= mean_beta <= 0.15
        assert wait_s >= 0
    else:
        assert 0 < printed[0] < 0.5


def test_the_settings_are_settings(tmp_path: Path) -> None:
    """Every name in the TOML blocks is one."""
    plain, live = blocks("mm-dpo.md", "toml")
    (tmp_path / "mm-dpo.toml").write_text(plain)
    settings = load_settings(MMDPOSettings, tmp_path / "mm-dpo.toml", {})
    assert settings.loss.rule == "paper"
    assert settings.margins.source == "column"
    (tmp_path / "mm-dpo.toml").write_text(plain + live)
    settings = load_settings(MMDPOSettings, tmp_path / "mm-dpo.toml", {})
    assert settings.margins.source == "service"
