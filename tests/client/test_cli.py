"""`mmreward score` and `mmreward pairs`: tables, JSON lines, files, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from client_kit import Reply, envelope, good_reply
from mmreward_client.cli.app import app
from PIL import Image
from typer.testing import CliRunner

runner = CliRunner()


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch):
    """A wide terminal without colours, and nothing inherited from the tester's environment."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("MMREWARD_URL", raising=False)
    monkeypatch.delenv("MMREWARD_API_KEY", raising=False)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "cat.png"
    Image.new("RGB", (6, 6), (9, 9, 9)).save(path)
    return path


def pair_entry(index, item):
    """A response's score is its length; the word `broken` fails its side."""

    def side(text):
        if "broken" in text:
            return {"status": "truncated", "error": "cut at 64 tokens"}
        critique = {"text": f"about {text}", "score": float(len(text))}
        return {"status": "ok", "score": float(len(text)), "critiques": [critique]}

    chosen, rejected = side(item["chosen"]), side(item["rejected"])
    entry = {"index": index, "id": item.get("id"), "chosen": chosen, "rejected": rejected}
    if chosen["status"] == rejected["status"] == "ok":
        delta = chosen["score"] - rejected["score"]
        return {**entry, "status": "ok", "delta": delta, "prob": 0.75, "beta": 0.125}
    return {**entry, "status": "truncated", "error": "chosen: truncated"}


@pytest.fixture
def pairs_server(server):
    def script(request):
        items = request.body["items"]
        return Reply(body=envelope([pair_entry(i, item) for i, item in enumerate(items)]))

    server.script = script
    return server


def run(server, *arguments):
    return runner.invoke(app, [str(a) for a in arguments], env={"MMREWARD_URL": server.url})


def jsonl(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_score_table(server, picture):
    """One row per response: text, score, status, critique; the origin below."""
    done = run(
        server, "score", picture, "--prompt", "What?", "--response", "A cat.", "--response", "Dog."
    )
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["response", "score", "status", "critique"]
    assert rows[1] == ["A", "cat.", "+6.000", "ok", "about", "A", "cat."]
    assert rows[2] == ["Dog.", "+4.000", "ok", "about", "Dog."]
    assert "fingerprint" in done.stdout
    body = server.received[0].body
    assert len(body["media"]) == 1
    assert [item["images"] for item in body["items"]] == [list(body["media"])] * 2


def test_score_options_travel(server, picture, monkeypatch):
    """Options and the key from the environment reach the wire."""
    monkeypatch.setenv("MMREWARD_API_KEY", "sk-1")
    done = run(
        server,
        *("score", picture, picture, "--fps", "2", "--prompt", "q", "--response", "r"),
        *("--critiques", "3", "--temperature", "0.5", "--seed", "7", "--max-critique-tokens", "9"),
        *("--mode", "given", "--critique", "fine"),
    )
    assert done.exit_code == 0, done.output
    (received,) = server.received
    assert received.headers["authorization"] == "Bearer sk-1"
    assert received.body["items"][0]["video"]["fps"] == 2.0
    assert len(received.body["items"][0]["video"]["frames"]) == 2
    assert received.body["items"][0]["critique"] == "fine"
    sampling = ("critiques", "temperature", "seed", "max_critique_tokens")
    assert [received.body[name] for name in sampling] == [3, 0.5, 7, 9]


def test_score_json(server, picture):
    """--json is the reply itself."""
    done = run(server, "score", picture, "--prompt", "q", "--response", "abc", "--json")
    assert json.loads(done.stdout)["data"][0]["score"] == 3.0


def test_pair_table(pairs_server, picture):
    """Scores, δ, prob, β and both critiques."""
    done = run(
        pairs_server, "pairs", picture, "--prompt", "q", "--chosen", "four", "--rejected", "no"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.split()[11:17] == ["+4.000", "+2.000", "+2.000", "0.750", "0.1250", "ok"]
    assert "chosen: about four" in done.stdout
    assert "rejected: about no" in done.stdout
    assert pairs_server.received[0].body["beta"]["w"] == 0.5


def test_failed_pair_is_told(pairs_server, picture):
    """No number is made up: the status, the reason, and exit 1 when nothing was scored."""
    done = run(
        pairs_server, "pairs", picture, "--prompt", "q", "--chosen", "broken", "--rejected", "no"
    )
    assert done.exit_code == 1
    assert "truncated" in done.stdout
    assert "chosen: truncated" in done.stdout
    assert "1 of 1 items failed: 1 truncated" in done.stderr


def test_file_of_pairs(pairs_server, picture, tmp_path):
    """Every row has its line in the output, in order; bad ones name file and line on stderr."""
    good = {"images": "cat.png", "prompt": "q", "chosen": "long", "rejected": "no"}
    path = jsonl(
        tmp_path / "pairs.jsonl",
        {"id": 7, **good},
        "{not json",
        "",
        {"id": "gone", **good, "images": ["no.png"]},
        {"id": "short", "prompt": "q", "chosen": "a"},
        {"id": "cut", **good, "chosen": "broken"},
        [1, 2],
        {"id": "last", **good, "category": "animals"},
    )
    done = run(pairs_server, "pairs", "--file", path, "--json", "--batch-size", "2")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["line"], row["id"], row["status"]) for row in rows] == [
        (1, "7", "ok"),
        (2, None, "invalid"),
        (4, "gone", "invalid"),
        (5, "short", "invalid"),
        (6, "cut", "truncated"),
        (7, None, "invalid"),
        (8, "last", "ok"),
    ]
    assert [row["delta"] for row in rows] == [2.0, None, None, None, None, None, 2.0]
    for line, reason in ((2, "not JSON"), (4, "no.png"), (5, "rejected: Field"), (7, "list")):
        assert any(
            f"{path}:{line}: " in told and reason in told for told in done.stderr.splitlines()
        )
    assert "ignored columns: category" in done.stderr
    assert "5 of 7 items failed: 4 invalid, 1 truncated" in done.stderr
    assert run(pairs_server, "pairs", "--file", path, "--strict").exit_code == 1


def test_file_of_pairs_as_a_table(pairs_server, picture, tmp_path):
    """A table with a summary below."""
    row = {"images": ["cat.png"], "prompt": "q", "rejected": "no"}
    path = jsonl(tmp_path / "p.jsonl", {**row, "chosen": "long"}, {**row, "id": "b", "chosen": "x"})
    done = run(pairs_server, "pairs", "--file", path)
    assert done.exit_code == 0, done.output
    assert "line 1" in done.stdout
    assert "2 of 2 pairs scored, δ > 0 in 1 (50.0%), mean δ +0.500" in done.stdout


def test_file_of_items(server, picture, tmp_path):
    """The same for single responses; videos and several batches included."""
    rows = [
        {"images": "cat.png", "prompt": "q", "response": "x" * (n % 7 + 1), "id": str(n)}
        for n in range(40)
    ]
    rows.append(
        {"video": {"frames": ["cat.png"], "fps": 1}, "prompt": "q", "response": "yy", "id": "v"}
    )
    path = jsonl(tmp_path / "items.jsonl", *rows)
    done = run(server, "score", "--file", path, "--json", "--batch-size", "4")
    assert done.exit_code == 0, done.output
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["id"], row["score"]) for row in printed] == [
        (row["id"], float(len(row["response"]))) for row in rows
    ]
    assert len(server.received) == 11
    table = run(server, "score", "--file", path)
    assert len(table.stdout.splitlines()) == 42


def test_too_large_batches_are_halved(server, picture, tmp_path):
    """413 for a batch is met with smaller ones; a row too large by itself is told as such."""

    def script(request):
        items = request.body["items"]
        if len(items) > 2 or any(item["response"] == "huge" for item in items):
            error = {"message": "too many", "type": "limit_exceeded", "code": "max_items"}
            return Reply(413, {"error": error})
        return Reply(body=good_reply(request))

    server.script = script
    rows = [{"prompt": "q", "response": text} for text in ("a", "bb", "ccc", "dddd", "e", "huge")]
    path = jsonl(tmp_path / "items.jsonl", *rows)
    done = run(server, "score", "--file", path, "--json", "--batch-size", "6")
    assert done.exit_code == 0, done.output
    scores = [json.loads(line)["score"] for line in done.stdout.splitlines()]
    assert scores == [1.0, 2.0, 3.0, 4.0, 1.0, None]


def test_service_gone_midway(server, picture, tmp_path):
    """What was scored is printed, the failure is one line on stderr, the exit is 1."""
    error = {"error": {"message": "who are you", "type": "authentication", "code": "unauthorized"}}

    def script(request):
        if request.body["items"][0]["response"] == "stop":
            return Reply(401, error)
        return Reply(body=good_reply(request))

    server.script = script
    rows = [{"prompt": "q", "response": text} for text in ("a", "bb", "stop", "never")]
    path = jsonl(tmp_path / "items.jsonl", *rows)
    options = ("--batch-size", "1", "--concurrency", "1")
    for form in (("--json",), ()):
        done = run(server, "score", "--file", path, *options, *form)
        assert done.exit_code == 1
        assert "Unauthorized: who are you" in done.stderr
        assert len(done.stdout.splitlines()) == (2 if form else 3)


def test_nobody_there(server, picture):
    """An unreachable service is a line on stderr and exit 1, no traceback."""
    url = server.url
    server.http.server_close()
    asked = ("score", picture, "--prompt", "q", "--response", "r", "--timeout", "0.5")
    done = runner.invoke(app, [*map(str, asked), "--url", url])
    assert done.exit_code == 1
    assert "TransportError" in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["score"],
        ["score", "--prompt", "q"],
        ["score", "--prompt", "q", "--response", "r", "--file", "x.jsonl"],
        ["score", "--file", "/no/such.jsonl"],
        ["score", "--prompt", "q", "--response", "r", "--mode", "guess"],
        ["score", "--prompt", "q", "--response", "r", "--mode", "given"],
        ["score", "--prompt", "q", "--response", "r", "--critique", "c"],
        ["score", "--prompt", "q", "--response", "r", "--critiques", "0"],
        ["score", "--prompt", "q", "--response", "r", "--fps", "2"],
        ["score", "--prompt", "q", "--response", "r", "--url", "nonsense"],
        ["pairs", "--prompt", "q", "--chosen", "c"],
        ["pairs", "--prompt", "q", "--chosen", "c", "--rejected", "r", "--w", "-1"],
        ["pairs", "--prompt", "q", "--chosen", "c", "--rejected", "r", "--basis", "odd"],
        ["pairs", "--prompt", "q", "--chosen", "c", "--rejected", "r", "--mode", "given"],
        ["judge"],
        ["score", "--no-such-option"],
    ],
)
def test_wrong_usage(server, arguments):
    """Exit 2 with a reason, and nothing is sent."""
    done = run(server, *arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr
    assert server.received == []


def test_empty_file(server, tmp_path):
    """A file without rows is wrong usage, not a success."""
    path = tmp_path / "empty.jsonl"
    path.write_text("\n\n")
    assert run(server, "pairs", "--file", path).exit_code == 2


def test_image_that_is_none(server, tmp_path):
    """A file that is no image is told before anything is sent."""
    path = tmp_path / "cat.png"
    path.write_text("no picture")
    done = run(server, "score", path, "--prompt", "q", "--response", "r")
    assert done.exit_code == 1
    assert "not an image" in done.stderr
    assert server.received == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["score", "--help"], ["pairs", "--help"], ["groups", "--help"]]
)
def test_help(server, arguments):
    """Help works and names the exit codes or the options."""
    done = run(server, *arguments)
    assert done.exit_code == 0
    assert "Usage" in done.stdout


def test_without_the_extra():
    """Where typer is missing the command says what to install and exits with 2."""
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['mmreward', '--help'];"
        "from mmreward_client.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "typer is missing: pip install 'mmreward[cli]'"
