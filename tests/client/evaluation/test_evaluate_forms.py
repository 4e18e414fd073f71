"""`mmreward evaluate FILE` with every form of data: the same pairs have the same rewards in all."""

from __future__ import annotations

import hashlib
import json

import pytest
from mmreward_client.cli.app import app
from mmreward_service.engine.fake import FakeEngine
from typer.testing import CliRunner

ROWS = 6


def row(number, **fields):
    texts = {"chosen": f"It is {number}.", "rejected": f"Maybe it is {number}?"}
    return {
        "id": f"q{number}",
        "prompt": "Which?",
        **texts,
        "image": f"mcq/{number % 3}.png",
    } | fields


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def url(make_service, engine):
    return make_service(engine)


@pytest.fixture
def evaluate(url, pictures, tmp_path):
    """Runs the command; the answers go to `answers.jsonl`."""

    def evaluate(file, *options, output="answers.jsonl"):
        given = ("--url", url, "--output", tmp_path / output, "--image-root", pictures, "--json")
        arguments = ["evaluate", *map(str, (file, *given, *options))]
        return CliRunner().invoke(app, arguments, env={"NO_COLOR": "1"})

    return evaluate


@pytest.fixture
def rewards(evaluate, write, tmp_path):
    """What the service gives for the pairs, from plain JSON lines."""
    done = evaluate(write("plain.jsonl", [row(n) for n in range(ROWS)]), output="plain.answers")
    assert done.exit_code == 0, done.output
    found = [answer["rewards"] for answer in lines(tmp_path / "plain.answers")]
    assert len({tuple(pair) for pair in found}) == ROWS
    return found


def inside(pictures, number):
    """The picture as parquet files and datasets hold it."""
    path = f"mcq/{number % 3}.png"
    return {"bytes": (pictures / path).read_bytes(), "path": path}


def check(evaluate, file, rewards, tmp_path, *options):
    """Answered twice: the second run knows every row again, bytes or not, and asks nothing."""
    done = evaluate(file, *options)
    assert done.exit_code == 0, done.output
    answers = lines(tmp_path / "answers.jsonl")
    assert [answer["rewards"] for answer in answers] == rewards
    again = evaluate(file, *options)
    assert f"{ROWS} pairs are answered already" in again.stderr
    assert json.loads(again.stdout) == json.loads(done.stdout)
    return answers, json.loads(done.stdout)


def test_parquet_with_pictures_inside(evaluate, rewards, pictures, tmp_path):
    """The answer names the picture by path and digest; categories come from the path."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [row(n, image=inside(pictures, n)) for n in range(ROWS)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    answers, said = check(evaluate, tmp_path / "pairs.parquet", rewards, tmp_path)
    digest = hashlib.sha256((pictures / "mcq" / "0.png").read_bytes()).hexdigest()
    assert answers[0]["image"] == {"path": "mcq/0.png", "sha256": digest}
    assert said["benchmark"] == "mm-rlhf"
    assert said["categories"]["mcq"]["pairs"] == ROWS


def test_a_saved_dataset(evaluate, rewards, pictures, tmp_path):
    """A folder of the library `datasets`, by its split, columns by their names."""
    datasets = pytest.importorskip("datasets")
    rows = [
        {
            "question": "Which?",
            "good": row(n)["chosen"],
            "bad": row(n)["rejected"],
            "picture": inside(pictures, n),
        }
        for n in range(ROWS)
    ]
    text = datasets.Value("string")
    features = {"question": text, "good": text, "bad": text, "picture": datasets.Image()}
    split = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    datasets.DatasetDict({"test": split}).save_to_disk(tmp_path / "set")
    named = ("prompt=question,chosen=good", "rejected=bad,images=picture")
    options = ("--form", "pairs", "--column", named[0], "--column", named[1], "--split", "test")
    answers, said = check(evaluate, tmp_path / "set", rewards, tmp_path, *options)
    assert [answer["id"] for answer in answers] == [str(n + 1) for n in range(ROWS)]
    assert said["baselines"]["longer_wins"]["acc"] == 0.0
    assert evaluate(tmp_path / "set", *options[:-2]).exit_code == 1


def test_the_released_form_of_vl_rewardbench(evaluate, rewards, pictures, write, tmp_path):
    """The better answer has rank 0; the groups are the official ones, by the picture's folder."""
    (pictures / "rlaif-v").mkdir()
    rows = []
    for n in range(ROWS):
        folder = "rlaif-v" if n < 3 else "mcq"
        content = (pictures / "mcq" / f"{n % 3}.png").read_bytes()
        (pictures / folder / f"{n % 3}.png").write_bytes(content)
        answers = [row(n)["chosen"], row(n)["rejected"]]
        ranks = [0, 1] if n % 2 else [1, 0]
        rows.append(
            {
                "id": f"{n}",
                "image_path": f"{folder}/{n % 3}.png",
                "query": "Which?",
                "response": answers if n % 2 else answers[::-1],
                "human_ranking": ranks,
            }
        )
    file = write("bench.jsonl", rows)
    answers, said = check(evaluate, file, rewards, tmp_path, "--form", "vl-rewardbench")
    assert answers[0]["chosen"] == row(0)["chosen"]
    assert answers[0]["response"] == rows[0]["response"]
    assert said["benchmark"] == "vl"
    assert said["categories"]["hallucination"]["pairs"] == 3
    assert said["categories"]["general"]["pairs"] == 3
    assert (
        json.loads(
            CliRunner()
            .invoke(app, ["evaluate", "--answers", str(tmp_path / "answers.jsonl"), "--json"])
            .stdout
        )["overall"]
        == said["overall"]
    )


def test_a_row_that_is_none_of_its_form_keeps_its_place(evaluate, pictures, write, tmp_path):
    """It is answered as a failure, with the field at fault."""
    good = {"query": "Which?", "image_path": "mcq/0.png", "response": ["a", "b"]}
    rows = [{"id": "1", **good, "human_ranking": [0, 1]}, {"id": "2", **good, "human_ranking": [1]}]
    done = evaluate(write("bench.jsonl", rows), "--form", "vl-rewardbench")
    assert done.exit_code == 0, done.output
    first, second = lines(tmp_path / "answers.jsonl")
    assert first["status"] == "ok"
    assert (second["status"], second["rewards"]) == ("invalid", None)
    assert "human_ranking" in second["error"]


def test_what_json_cannot_hold_ends_the_command_beforehand(evaluate, engine, tmp_path):
    """A time stamp has no place in an answer file."""
    pyarrow = pytest.importorskip("pyarrow")
    import datetime

    from pyarrow import parquet

    rows = [row(0, taken=datetime.datetime(2025, 1, 1))]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    before = engine.finished
    done = evaluate(tmp_path / "pairs.parquet")
    assert done.exit_code == 1
    assert "pairs.parquet:1: taken: cannot be written as JSON" in done.stderr
    assert engine.finished == before


def test_wrong_usage(evaluate, write):
    """A form that does not exist, and columns of a form that has its own."""
    file = write("bench.jsonl", [row(0)])
    assert evaluate(file, "--form", "other").exit_code == 2
    assert evaluate(file, "--form", "mm-rlhf", "--column", "prompt=question").exit_code == 2
    assert evaluate(file, "--column", "prompt=question").exit_code == 2
    assert evaluate(file, "--form", "pairs", "--column", "question").exit_code == 2


def test_rows_are_taken_as_they_are_needed():
    """A file larger than memory can pass: reading is never far ahead of the results."""
    from pathlib import Path

    from mmreward_client.cli.batches import run_batches
    from mmreward_client.cli.rows import Row
    from mmreward_client.schema import ScoreItem, ScoreReply, ScoreResult

    taken = 0

    def rows():
        nonlocal taken
        for line in range(1, 1001):
            taken += 1
            yield Row(Path("f"), line, {"prompt": "q", "response": str(line)})

    def request(items):
        data = [
            ScoreResult(index=n, status="ok", score=float(item["response"]))
            for n, item in enumerate(items)
        ]
        return ScoreReply.model_construct(data=data)

    outcomes = run_batches(
        rows(),
        request,
        item_kind=ScoreItem,
        result_kind=ScoreResult,
        batch_size=5,
        concurrency=2,
    )
    ahead = []
    for number, outcome in enumerate(outcomes, start=1):
        assert (outcome.row.line, outcome.result.score) == (number, float(number))
        ahead.append(taken - number)
    assert number == 1000
    assert max(ahead) < 100
