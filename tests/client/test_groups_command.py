"""`mmreward groups` through the real service: tables, JSON lines, a file that is resumed."""

from __future__ import annotations

import json

import pytest
from mmreward_client import RewardClient
from mmreward_client.cli.app import app
from mmreward_client.cli.group_rows import with_texts
from mmreward_client.cli.group_table import ranks
from mmreward_client.cli.rows import Row
from mmreward_service.engine.fake import FakeEngine
from service_kit import picture
from service_kit.threaded import running
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def engine():
    return FakeEngine()


@pytest.fixture(scope="module")
def url(engine):
    with running(engine) as address:
        yield address


@pytest.fixture
def cat(tmp_path):
    picture((60, 60)).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def run(url, *arguments):
    environment = {"MMREWARD_URL": url, "COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, ["groups", *map(str, arguments)], env=environment)


def quality(points, text="answer"):
    return f"{text} [[quality={points}]]"


def jsonl(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_table(url, cat):
    """Best first, ties share a rank, each score with the number of comparisons it rests on."""
    answers = [quality(3), quality(8, "first"), quality(8, "second"), "cut [[unparsed]]"]
    named = [part for text in answers for part in ("--response", text)]
    done = run(url, cat, "--prompt", "What?", *named)
    assert done.exit_code == 0, done.output
    shown = [line.split() for line in done.stdout.splitlines()]
    assert shown[0][:2] == ["group", "partial"]
    assert shown[1] == ["rank", "score", "from", "#", "response"]
    assert [line[:4] for line in shown[2:6]] == [
        ["1", "8.000", "4", "1"],
        ["1", "8.000", "4", "2"],
        ["3", "3.000", "4", "0"],
        ["-", "-", "0", "3"],
    ]
    assert "6 of 12 comparisons failed: 6 unparsed" in done.stdout
    assert "fingerprint" in done.stdout
    assert "1 of 1 items failed in part" in done.stderr
    assert run(url, cat, "--prompt", "What?", *named, "--strict").exit_code == 1


def test_options_reach_the_service(url, cat):
    """Each once instead of twice, one opponent in a ring, the share of games won."""
    texts = [quality(n) for n in (2, 9, 5, 7)]
    named = [part for text in texts for part in ("--response", text)]
    done = run(url, cat, "--prompt", "q", *named, "--orders", "balanced", "--json")
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)["data"]
    assert len(result["comparisons"]) == 6
    assert result["order_consistency"] is None
    options = ("--aggregate", "win_rate", "--comparisons", "2", "--critiques", "2", "--seed", "3")
    done = run(url, cat, "--prompt", "q", *named, *options, "--json")
    (result,) = json.loads(done.stdout)["data"]
    assert result["scores"][1] == 1.0
    assert result["scores"][0] == 0.0
    assert all(one["critiques_ok"] == 2 for one in result["comparisons"])


def test_file(url, cat, tmp_path):
    """A group per row in the order of the file; bad rows are named with file and line."""
    texts = [quality(2), quality(9)]
    good = {"images": "cat.png", "prompt": "q", "responses": texts}
    objects = [{"text": texts[0], "logprob": -1}, {"text": "cut", "complete": False}, texts[1]]
    path = jsonl(
        tmp_path / "rows.jsonl",
        {"id": "a", **good},
        "{no json",
        {"id": "b", **good, "responses": objects},
        {"id": "lonely", **good, "responses": ["one"]},
        {"id": "gone", **good, "images": "no.png"},
        {"id": "odd", **good, "responses": [{"complete": True}, "x"]},
        {"id": "c", **good, "complete": [True, True], "temperature_c": 4},
        {"id": "twice", **good, "responses": objects, "complete": [True, True, True]},
    )
    done = run(url, "--file", path, "--json", "--batch-size", 2)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["line"] for row in rows] == list(range(1, 9))
    found = {row["id"]: row["scores"] for row in rows if row["status"] == "ok"}
    assert found == {"a": [2.0, 9.0], "b": [2.0, None, 9.0], "c": [2.0, 9.0]}
    assert rows[3]["scores"] == [None]
    for line, reason in (
        (2, "not JSON"),
        (4, "comparison needs two"),
        (5, "no.png"),
        (6, "responses.0: no `text`"),
        (8, "complete: given for the row and inside its responses"),
    ):
        said = done.stderr.splitlines()
        assert any(f"{path}:{line}: " in one and reason in one for one in said), (line, said)
    assert "ignored columns: responses.logprob, temperature_c" in done.stderr
    assert "5 of 8 items failed: 5 invalid" in done.stderr
    table = run(url, "--file", path)
    assert table.exit_code == 0
    assert table.stdout.count("rank") == 7
    assert "line 2  invalid" in table.stdout


def test_output_is_the_rows_with_their_scores(url, cat, tmp_path):
    """Own columns stay, scores are added; what `--json` says is what the file says."""
    row = {"id": 7, "images": ["cat.png"], "prompt": "q", "responses": [quality(4), quality(6)]}
    path = jsonl(tmp_path / "rows.jsonl", {**row, "source": "mine"})
    output = tmp_path / "out.jsonl"
    done = run(url, "--file", path, "--output", output, "--orders", "balanced")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"1 of 1 groups scored, in {output}\n"
    (answer,) = lines(output)
    assert {name: answer[name] for name in ("id", "responses", "source")} == {
        "id": 7,
        "responses": row["responses"],
        "source": "mine",
    }
    assert (answer["scores"], answer["scores_from"]) == ([4.0, 6.0], [1, 1])
    assert answer["request"]["orders"] == "balanced"
    printed = json.loads(run(url, "--file", path, "--json", "--orders", "balanced").stdout)
    names = ("scores", "scores_from", "comparisons", "status", "error")
    assert [answer[name] for name in names] == [printed[name] for name in names]


def test_resumed_from_every_cut(url, engine, cat, tmp_path):
    """Whole lines with scores are not asked again, failed and cut ones are; no row twice."""
    rows = [{"id": str(n), "prompt": "q", "responses": [quality(1 + n), "x"]} for n in range(5)]
    rows[3]["responses"] = ["bad [[unparsed]]", "worse [[unparsed]]"]
    path, output = jsonl(tmp_path / "rows.jsonl", *rows), tmp_path / "out.jsonl"
    options = ("--file", path, "--output", output)
    assert run(url, *options).exit_code == 0
    whole = output.read_bytes()
    by_id = {row["id"]: row for row in lines(output)}
    assert by_id["3"]["scores"] == [None, None]
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut, asked in ((0, 5), (ends[1] - 1, 4), (ends[1], 3), (ends[-1], 1)):
        output.write_bytes(whole[:cut])
        before = engine.finished
        assert run(url, *options).exit_code == 0
        assert engine.finished - before == 2 * asked
        assert {row["id"]: row["scores"] for row in lines(output)} == {
            name: row["scores"] for name, row in by_id.items()
        }


def test_other_answers_are_refused(url, cat, tmp_path):
    """Answers to other options, to other rows and of another model stay as they are."""
    row = {"prompt": "q", "responses": [quality(1), quality(2)]}
    path, output = jsonl(tmp_path / "rows.jsonl", row), tmp_path / "out.jsonl"
    assert run(url, "--file", path, "--output", output).exit_code == 0
    written = output.read_bytes()
    done = run(url, "--file", path, "--output", output, "--aggregate", "win_rate")
    assert (done.exit_code, output.read_bytes()) == (1, written)
    assert f"{output}:1: was asked for with" in done.stderr
    jsonl(path, {**row, "prompt": "another"})
    done = run(url, "--file", path, "--output", output)
    assert (done.exit_code, output.read_bytes()) == (1, written)
    assert f"{output}:1: answers no row of {path}" in done.stderr
    jsonl(path, row)
    output.write_text(json.dumps({**json.loads(written), "fingerprint": "other"}) + "\n")
    assert "is of fingerprint other" in run(url, "--file", path, "--output", output).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--prompt", "q"],
        ["--prompt", "q", "--response", "alone"],
        ["--prompt", "q", "--response", "a", "--response", "b", "--orders", "one"],
        ["--prompt", "q", "--response", "a", "--response", "b", "--aggregate", "median"],
        ["--prompt", "q", "--response", "a", "--response", "b", "--comparisons", "0"],
        ["--prompt", "q", "--response", "a", "--response", "b", "--comparisons", "few"],
        ["--prompt", "q", "--response", "a", "--response", "b", "--output", "x.jsonl"],
        ["--file", "/no/such.jsonl"],
        ["--file", "rows.jsonl", "--prompt", "q"],
        ["--file", "rows.jsonl", "--output", "/no/folder/out.jsonl"],
        ["--file", "rows.jsonl", "--output", "out.jsonl", "--json"],
    ],
)
def test_wrong_usage(arguments):
    """Exit 2 with a reason, before anything is sent."""
    done = run("http://127.0.0.1:9", *arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr


def test_nobody_there(cat, tmp_path):
    """A service that is gone is one line on stderr and exit 1; the output stays resumable."""
    path = jsonl(tmp_path / "r.jsonl", {"prompt": "q", "responses": ["a", "b"]})
    for more in ((), ("--output", tmp_path / "out.jsonl")):
        done = run("http://127.0.0.1:9", "--file", path, *more, "--timeout", "0.5")
        assert done.exit_code == 1
        assert "TransportError" in done.stderr
        assert "Traceback" not in done.output


def test_service_gone_midway(cat, tmp_path):
    """What was compared until then is in the file and kept; the message says how to go on."""
    rows = [{"prompt": "q", "responses": [quality(1), quality(2)]}]
    rows.append({"prompt": "q", "responses": ["a [[dead]]", "b [[dead]]"]})
    rows.append({"prompt": "q", "responses": [quality(3), quality(4)]})
    path, output = jsonl(tmp_path / "rows.jsonl", *rows), tmp_path / "out.jsonl"
    options = ("--file", path, "--output", output, "--batch-size", 1, "--concurrency", 1)
    with running(FakeEngine()) as address:
        done = run(address, *options, "--timeout", 6)
    assert done.exit_code == 1, done.output
    assert "the same command goes on from there" in done.stderr
    assert lines(output)[0]["scores"] == [1.0, 2.0]
    with running(FakeEngine()) as address:
        jsonl(path, rows[0], rows[2])
        done = run(address, *options)
    assert done.exit_code == 0, done.output
    assert "1 groups are answered already" in done.stderr
    assert [row["scores"] for row in lines(output)] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_group_from_python(url, cat):
    """The client against the service itself: shared upload, order of the responses, all options."""
    shared = {"images": [cat], "prompt": "q"}
    items = [
        {**shared, "id": str(n), "responses": [quality(n + 1), "x", quality(5)]} for n in range(3)
    ]
    with RewardClient(url) as client:
        reply = client.groups(items, aggregate="additive", orders="both", comparisons="all")
        with client.stream_groups(items, aggregate="additive") as stream:
            streamed = {one.id: one.scores for one in stream}
    assert {one.id: one.scores for one in reply.data} == streamed
    for n, one in enumerate(reply.data):
        assert (one.status, one.scores_from) == ("ok", [4, 4, 4])
        assert one.scores[0] == pytest.approx(n + 1)
        assert one.scores[2] == pytest.approx(5)


def test_ranks():
    """Places from 1 by falling score, shared by equal ones, none for none."""
    assert ranks([2.0, None, 3.0, 2.0, 1.0]) == [2, None, 1, 2, 4]
    assert ranks([None, None]) == [None, None]


@pytest.mark.parametrize(
    ("responses", "reason"),
    [
        ([{"text": "a", "complete": "yes"}, "b"], "responses.0.complete: true or false"),
        (["a", {"answer": "b"}], "responses.1: no `text`"),
    ],
)
def test_bad_objects(tmp_path, responses, reason):
    """A response that cannot be read names its place."""
    row = with_texts(Row(tmp_path / "rows.jsonl", 4, {"responses": responses}))
    assert row.error is not None
    assert f"rows.jsonl:4: {reason}" in row.error
