"""docs/annotate.md and docs/testing.md run as they stand, and print what they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from mmreward_client.annotation.margins import FIELDS, ORDERS
from mmreward_client.cli.app import app
from mmreward_client.testing import KINDS, LocalService
from service_kit import picture
from typer.testing import CliRunner

DOCS = Path(__file__).parents[2] / "docs"
ANNOTATE = (DOCS / "annotate.md").read_text(encoding="utf-8")
TESTING = (DOCS / "testing.md").read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the examples name."""
    picture().save(tmp_path / "cat.png")
    picture(shade=10).save(tmp_path / "dog.png")
    pairs, ranked = blocks(ANNOTATE, "jsonl")
    (tmp_path / "pairs.jsonl").write_text(pairs)
    (tmp_path / "ranked.jsonl").write_text(ranked)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_annotate(folder):
    """Every command exits with 0, leaves the files the page names, and prints what it shows."""
    commands = re.findall(r"^\$ mmreward (.*)$", ANNOTATE, re.MULTILINE)
    assert len(commands) == 4
    with LocalService() as service:
        printed = []
        for command in commands:
            environment = {"MMREWARD_URL": service.url, "COLUMNS": "100", "NO_COLOR": "1"}
            done = CliRunner().invoke(app, shlex.split(command), env=environment)
            assert done.exit_code == 0, done.output
            printed.append([line.rstrip() for line in done.stdout.splitlines()])
    (shown,) = blocks(ANNOTATE, "text")
    assert printed[0] == [line.rstrip() for line in shown.splitlines()]
    for name in re.findall(r"`(pairs\.annotated\.[a-z.]+)`", ANNOTATE):
        assert (folder / name).is_file(), name
    for name in ("ranked.annotated.parquet", "judged.jsonl", "ranked.judged.jsonl"):
        assert (folder / name).is_file(), name


def test_every_column_is_explained():
    """The table of columns names all that is written."""
    told = set(re.findall(r"`([a-z_]+)`", ANNOTATE))
    assert {*FIELDS, ORDERS, "line", "ls_factor", "trained_on", "fold", "chosen_place"} <= told


def test_examples_of_testing():
    """All Python blocks in one namespace; the tests among them pass, each with a service."""
    code = "\n".join(blocks(TESTING, "python")).replace("@pytest.fixture\n", "")
    space: dict[str, object] = {}
    exec(compile(code, "docs/testing.md", "exec"), space)
    tests = [value for name, value in space.items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        with LocalService() as service:
            test(service)


def test_every_fault_is_explained():
    """The page's table has all kinds of faults."""
    table = TESTING.split("## What goes wrong")[1].split("A script")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) >= set(KINDS)
