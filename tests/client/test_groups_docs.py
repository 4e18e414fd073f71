"""The examples of docs/groups.md run as they stand, against the service."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from mmreward_client.cli.app import app
from mmreward_service.engine.fake import FakeEngine
from service_kit import picture
from service_kit.threaded import running
from typer.testing import CliRunner

PAGE = (Path(__file__).parents[2] / "docs" / "groups.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the examples name."""
    picture((60, 60)).save(tmp_path / "cat.png")
    (tmp_path / "groups.jsonl").write_text("".join(blocks("jsonl")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples(folder, capsys):
    """The Python blocks in order in one namespace, then every command; each file is written."""
    with running(FakeEngine()) as url:
        code = "\n".join(blocks("python")).replace(ADDRESS, url)
        exec(compile(code, "docs/groups.md", "exec"), {})
        commands = re.findall(r"^\$ mmreward (.*)$", PAGE, re.MULTILINE)
        assert len(commands) == 3
        for command in commands:
            done = CliRunner().invoke(app, shlex.split(command), env={"MMREWARD_URL": url})
            assert done.exit_code == 0, done.output
    assert "from 4 comparisons" in capsys.readouterr().out
    assert len((folder / "scored.jsonl").read_text().splitlines()) == 2


def test_every_field_of_a_line_is_named():
    """What `--output` adds to a row is told, field by field."""
    from mmreward_client.cli.group_answers import _ADDED

    assert set(re.findall(r"`([a-z_0-9]+)`", PAGE)) >= _ADDED
