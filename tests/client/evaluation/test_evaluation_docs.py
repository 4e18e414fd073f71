"""The examples of docs/evaluation.md run as they stand and print what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pyarrow
import pytest
from mmreward_client.cli.app import app
from mmreward_service.engine.fake import FakeEngine
from pyarrow import parquet
from typer.testing import CliRunner

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, pictures, write, monkeypatch):
    """The files that the examples name."""
    (answers,) = blocks("json")
    (tmp_path / "answers.jsonl").write_text(answers)
    judged, generations, descriptions = blocks("jsonl")
    (tmp_path / "judged.jsonl").write_text(judged)
    (tmp_path / "generations.jsonl").write_text(generations)
    (tmp_path / "descriptions.jsonl").write_text(descriptions)
    (tmp_path / "objects.txt").write_text(blocks("text")[-1])
    row = {"image": "mcq/0.png", "prompt": "Which?", "chosen": "A.", "rejected": "B."}
    write("bench.jsonl", [{"id": str(n), **row} for n in range(2)])
    table = pyarrow.Table.from_pylist([{"question": "Which?", "chosen": "A.", "rejected": "B."}])
    parquet.write_table(table, tmp_path / "pairs.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command, url=ADDRESS):
    environment = {"MMREWARD_URL": url, "COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, shlex.split(command.replace(ADDRESS, url)), env=environment)


def test_commands(folder, make_service):
    """Every command exits with 0 and leaves the files that the page promises."""
    commands = re.findall(r"^\$ mmreward (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 9
    url = make_service(FakeEngine())
    for command in commands:
        done = run(command, url)
        assert done.exit_code == 0, done.output
    written = ("bench.answers.jsonl", "none.jsonl", "pairs.answers.jsonl", "plots/margins.png")
    assert "orders" in (folder / "judged.answers.jsonl").read_text()
    for name in written:
        assert (folder / name).is_file()


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("evaluate --answers answers.jsonl", 0),
        ("evaluate --answers judged.jsonl", 1),
        ("evaluate-safety generations.jsonl", 2),
    ],
)
def test_the_table_is_the_printed_one(folder, command, place):
    """What the page shows below a command is its output, letter by letter."""
    done = run(command)
    shown = blocks("text")[place]
    assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


def test_python_examples(capsys):
    """The numbers in the comments are the printed ones."""
    (code,) = blocks("python")
    exec(compile(code, "docs/evaluation.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)


def test_every_field_is_explained():
    """The page's table of fields names every field of the figures."""
    from mmreward_client.evaluation.judged import Judged
    from mmreward_client.evaluation.report import figures

    told = set(re.findall(r"`([a-z_.0-9]+)`", PAGE))
    assert set(figures([])) - {"baselines"} <= told
    assert {"baselines.random", "baselines.longer_wins"} <= told
    orders = figures([Judged(id="1", rewards=(1.0, 0.0), orders=(1.0, 1.0))])["orders"]
    assert {name for name in orders if not name.endswith("_ci95")} <= told
