"""The commands of docs/expansion.md run as they stand and print what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from expansion_kit import KEY, lines
from mmreward_trainer.cli.main import app
from mmreward_trainer.expansion.replies import Status
from mmreward_trainer.expansion.writing import POLICIES
from typer.testing import CliRunner

PAGE = (Path(__file__).parents[3] / "docs" / "expansion.md").read_text(encoding="utf-8")
REHEARSAL, RUN = re.findall(r"^\$ mmreward-train (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def run(tmp_path, monkeypatch, chat):
    (rows,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "pairs.jsonl").write_text(rows)
    monkeypatch.chdir(tmp_path)

    def run(command):
        arguments = shlex.split(command.replace("http://127.0.0.1:8000", chat.url))
        return CliRunner().invoke(app, arguments, env={"OPENAI_API_KEY": KEY})

    return run


def test_the_estimate_is_the_printed_one(run):
    """What the page shows below the rehearsal is its output, letter by letter."""
    done = run(REHEARSAL)
    assert done.exit_code == 0, done.output
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert done.stdout.startswith(shown)
    assert done.stdout.endswith("nothing was sent\n")
    assert not Path("expanded.jsonl.journal.jsonl").exists()


def test_the_run_writes_what_is_promised(run):
    """The files and columns that the page names."""
    done = run(RUN)
    assert done.exit_code == 0, done.output
    first, _ = lines(Path("expanded.jsonl"))
    told = set(re.findall(r"`([a-z_]+)`", PAGE))
    added = first.keys() - {"id", "image", "prompt", "chosen", "rejected"}
    assert added <= told
    assert Path("expanded.jsonl.run.json").is_file()
    assert Path("expanded.jsonl.journal.jsonl").is_file()


def test_every_status_and_policy_is_explained():
    """The page's tables name all of them."""
    told = set(re.findall(r"`([a-z-]+)`", PAGE))
    assert set(get_args(Status)) - {"ok"} <= told
    assert set(POLICIES) <= told
