"""Rows that a model was trained on are marked, and scored by another model where there is one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from mmreward_client.cli.app import app
from mmreward_client.data import ReadOptions, read_pairs
from mmreward_client.testing import ComputedAnswers, LocalService
from mmreward_trainer.training_rows import write_training_rows
from typer.testing import CliRunner


def annotate(*arguments, url=None):
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    if url is not None:
        environment["MMREWARD_URL"] = url
    command = ["annotate", "--no-picture", *map(str, arguments)]
    return CliRunner().invoke(app, command, env=environment)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pair(number, **fields):
    texts = {"prompt": "Which?", "chosen": f"Right {number}.", "rejected": f"Wrong {number}."}
    return {"id": f"q{number}", "images": f"{number % 3}.png", **texts, **fields}


def checkpoint(folder: Path, fingerprints) -> Path:
    """What a training run leaves of its rows."""
    folder.mkdir()
    listed = write_training_rows(folder, fingerprints)
    (folder / "config.json").write_text(json.dumps({"reward": {"training_rows": listed}}))
    return folder


@pytest.fixture
def file(pictures, write):
    return write("pairs.jsonl", [pair(n, fold=n % 2) for n in range(8)])


@pytest.fixture
def fingerprints(file):
    return [one.fingerprint() for one in read_pairs(file, options=ReadOptions())]


@pytest.mark.parametrize("is_folder", [True, False])
def test_trained_rows_are_marked(local, file, fingerprints, tmp_path, is_folder):
    """The rows in the checkpoint's list, no others; the summary counts them and stderr warns."""
    rows = checkpoint(tmp_path / "model", fingerprints[2:5])
    named = rows if is_folder else rows / "training_rows.u64"
    output = tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, "--checkpoint-rows", named, url=local.url)
    assert done.exit_code == 0, done.output
    assert [line["trained_on"] for line in lines(output)] == [2 <= n < 5 for n in range(8)]
    assert "warning: 3 of 8 pairs are among the rows" in done.stderr
    assert json.loads((tmp_path / "out.summary.json").read_text())["trained_on"] == 3


@pytest.mark.parametrize("is_folder", [True, False])
def test_rows_of_earlier_trainings(local, file, fingerprints, tmp_path, is_folder):
    """Where they are unknown, found is true, and not found is null: no false that may be wrong."""
    folder = tmp_path / "model"
    folder.mkdir()
    listed = {**write_training_rows(folder, fingerprints[:2]), "earlier": "unknown"}
    (folder / "config.json").write_text(json.dumps({"reward": {"training_rows": listed}}))
    output = tmp_path / "out.jsonl"
    named = folder if is_folder else folder / "training_rows.u64"
    done = annotate(file, "--output", output, "--checkpoint-rows", named, url=local.url)
    assert done.exit_code == 0, done.output
    assert [line["trained_on"] for line in lines(output)] == [True] * 2 + [None] * 6
    assert "rows of earlier trainings are unknown" in done.stderr
    assert json.loads((tmp_path / "out.summary.json").read_text())["trained_rows_partly_known"]


def test_nothing_is_claimed_without_a_list(local, file, tmp_path):
    """Without training rows there is no column that says false."""
    output = tmp_path / "out.jsonl"
    assert annotate(file, "--output", output, url=local.url).exit_code == 0
    assert "trained_on" not in lines(output)[0]


def test_cross_fitting_by_training_rows(file, fingerprints, tmp_path):
    """Each pair is scored by a model that did not see it; one that all saw is not scored."""
    seen = [fingerprints[:4] + fingerprints[7:], fingerprints[4:]]
    folders = [checkpoint(tmp_path / f"model{n}", rows) for n, rows in enumerate(seen)]
    output = tmp_path / "out.jsonl"
    with (
        LocalService(ComputedAnswers(1), fingerprint="one") as one,
        LocalService(ComputedAnswers(2), fingerprint="two") as two,
    ):
        done = annotate(
            *(file, "--output", output, "--fold-url", one.url, "--fold-url", two.url),
            *("--checkpoint-rows", folders[0], "--checkpoint-rows", folders[1]),
        )
        asked = [
            {item["response"] for each in service.asked for item in each.items}
            for service in (one, two)
        ]
    assert done.exit_code == 0, done.output
    found = lines(output)
    assert [line["fold"] for line in found] == [1, 1, 1, 1, 0, 0, 0, None]
    assert [line["fingerprint"] for line in found] == [*["two"] * 4, *["one"] * 3, None]
    assert [line["trained_on"] for line in found] == [*[False] * 7, True]
    assert found[7]["status"] == "invalid"
    assert "every one of the checkpoints was trained on this pair" in found[7]["error"]
    assert not asked[0] & asked[1]
    assert "raw margins of several checkpoints have different units" in done.stderr


def test_what_nobody_saw_is_shared_out(pictures, write, tmp_path):
    """Pairs free for both models go to both, the same pair always to the same."""
    file = write("many.jsonl", [pair(n) for n in range(24)])
    folders = [
        checkpoint(tmp_path / f"model{n}", [hashlib.sha256(bytes([n])).hexdigest()])
        for n in range(2)
    ]
    folds = []
    for place in range(2):
        output = tmp_path / f"out{place}.jsonl"
        with LocalService() as one, LocalService(fingerprint="two") as two:
            done = annotate(
                *(file, "--output", output, "--fold-url", one.url, "--fold-url", two.url),
                *("--checkpoint-rows", folders[0], "--checkpoint-rows", folders[1]),
                *("--basis", "calibrated"),
            )
        assert done.exit_code == 0, done.output
        folds.append([line["fold"] for line in lines(output)])
    assert folds[0] == folds[1]
    assert 4 <= sum(folds[0]) <= 20
    assert "different units" not in done.stderr


def test_cross_fitting_by_a_column(file, write, tmp_path):
    """The column names the model that did not see the row; a number that is none is no pair."""
    output = tmp_path / "out.jsonl"
    rows = [*lines(file), {**pair(9), "fold": 7}, {**pair(10), "fold": "a"}]
    with LocalService() as one, LocalService(fingerprint="two") as two:
        done = annotate(
            *(write("folds.jsonl", rows), "--output", output, "--fold-column", "fold"),
            *("--fold-url", one.url, "--fold-url", two.url),
        )
    assert done.exit_code == 0, done.output
    found = lines(output)
    assert [line["fingerprint"] for line in found[:8]] == ["local-service", "two"] * 4
    assert [line["status"] for line in found[8:]] == ["invalid", "invalid"]
    assert found[8]["error"] == "fold: fold 7 of 2"
