"""What the command and a real HTTP server say to each other: repetitions, keys, pictures."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from client_kit.scripted import Reply
from expansion_kit import KEY, completion, expanding, row


def test_what_a_repetition_cures_is_repeated(expand, chat, write):
    """429 and 5xx are asked again, after the wait that the endpoint names."""
    wait = {"Retry-After": "0.01"}
    chat.replies = [Reply(429, {}, wait), Reply(500, {}, wait), Reply(503, {}, wait)]
    done = expand(write([row(1)]), "--retries", 3, "--concurrency", 1)
    assert done.exit_code == 0, done.output
    assert len(chat.received) == 5
    record = json.loads((write([]).parent / "out.jsonl.run.json").read_text())
    assert record["sent"]["retries"] == 3


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_no_repetition_cures_is_not_repeated(expand, chat, write, status):
    """The request that is wrong is sent once."""
    chat.script = lambda request: Reply(status, {"error": {"message": "no"}})
    expand(write([row(1, rejected_reason=None)]), "--retries", 5, "--on-failure", "drop")
    assert len(chat.received) == 1


@pytest.mark.parametrize("status", [401, 402, 404, 302])
def test_an_endpoint_that_serves_nobody_ends_the_run(expand, chat, write, status):
    """One refused key is enough; the key is in no message, even if the endpoint repeats it."""
    body = {"error": {"message": f"wrong key {KEY}"}}
    chat.script = lambda request: Reply(status, body, {"Location": f"{chat.url}/elsewhere"})
    done = expand(write([row(n) for n in range(30)]), "--concurrency", 2)
    assert done.exit_code == 1
    assert f"HTTP {status}" in done.stderr
    assert len(chat.received) <= 2
    assert KEY not in done.output


def test_an_exhausted_quota_ends_the_run(expand, chat, write):
    """The public endpoint says so with 429, which otherwise means to try again."""
    chat.script = lambda request: Reply(
        429, {"error": {"message": "x", "code": "insufficient_quota"}}
    )
    done = expand(write([row(n) for n in range(30)]), "--concurrency", 1, "--retries", 0)
    assert done.exit_code == 1
    assert len(chat.received) == 1


def test_an_endpoint_that_is_gone_ends_the_run(expand, chat, write, tmp_path):
    """A row of unanswered requests is no row of bad comments; later the same command goes on."""
    chat.script = lambda request: Reply(503, {})
    file = write([row(n) for n in range(40)])
    options = ("--retries", 0, "--stop-after", 4, "--concurrency", 1, "--on-failure", "drop")
    done = expand(file, *options)
    assert done.exit_code == 1
    assert "4 requests in a row had no answer" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert len(chat.received) == 4
    assert not (tmp_path / "out.jsonl").exists()
    chat.script = expanding
    assert expand(file, *options).exit_code == 0
    assert len(chat.received) == 4 + 80


def test_concurrency_is_bounded(expand, chat, write):
    """So many requests are under way at once, and not more."""
    under_way, most = 0, 0

    def script(request):
        nonlocal under_way, most
        with chat.lock:
            under_way += 1
            most = max(most, under_way)
        chat.stopping.wait(0.05)
        with chat.lock:
            under_way -= 1
        return expanding(request)

    chat.script = script
    assert expand(write([row(n) for n in range(12)]), "--concurrency", 3).exit_code == 0
    assert most == 3


def test_pictures_are_sent_as_they_are(expand, chat, pictures, write):
    """Before the text, byte for byte; the frames of a video in their order."""
    (pictures / "clip").mkdir()
    for number in (2, 10, 1):
        content = (pictures / "mcq" / f"{number % 3}.png").read_bytes()
        (pictures / "clip" / f"{number}.png").write_bytes(content)
    film = {**row(4, rejected_reason=None), "image": None, "video": "clip"}
    file = write([row(1, image=["mcq/1.png", "mcq/0.png"], rejected_reason=None), film])
    assert expand(file, "--pictures", "--concurrency", 1).exit_code == 0
    for request, names in zip(chat.received, [("1", "0"), ("1", "2", "1")], strict=True):
        *parts, text = request.body["messages"][0]["content"]
        assert text["type"] == "text"
        found = [base64.b64decode(one["image_url"]["url"].split(",")[1]) for one in parts]
        assert found == [(pictures / "mcq" / f"{name}.png").read_bytes() for name in names]


def test_without_pictures_none_has_to_be_there(expand, chat, write):
    """Text alone is sent by default; with --pictures a missing one ends the command beforehand."""
    file = write([row(1)])
    assert expand(file, "--pictures").exit_code == 1
    assert chat.received == []
    assert expand(file).exit_code == 0
    assert isinstance(chat.received[0].body["messages"][0]["content"], str)


def test_usage_that_is_not_said_is_not_zero(expand, chat, write):
    """Such answers are counted."""
    chat.script = lambda request: Reply(body={**completion("Good."), "usage": None})
    assert "2 answers did not say how many tokens" in expand(write([row(1)])).stdout


def test_keys(expand, chat, write):
    """The key goes into the header; without one, no header is sent at all."""
    file = write([row(1)])
    expand(file)
    assert chat.received[0].headers["authorization"] == f"Bearer {KEY}"
    done = expand(file, "--model", "another", key=None)
    assert done.exit_code == 0, done.output
    assert "authorization" not in chat.received[-1].headers
    assert "OPENAI_API_KEY is not set: no key is sent" in done.stderr
    done = expand(file, "--base-url", "https://api.openai.com/v1", key=None)
    assert done.exit_code == 2


def test_length_field_and_extra_body(expand, chat, write):
    """Fields of the request that endpoints differ in."""
    options = ("--length-field", "max_tokens", "--extra-body", '{"top_k": 5}', "--temperature", 0)
    assert expand(write([row(1)]), *options).exit_code == 0
    body = chat.received[0].body
    assert (body["max_tokens"], body["top_k"], body["temperature"]) == (1024, 5, 0.0)
    assert "max_completion_tokens" not in body


def test_nobody_is_asked_without_a_terminal(expand, chat, write, tmp_path):
    """Without --yes and without anyone to confirm, nothing is sent: wrong usage."""
    done = expand(write([row(1)]), "--ask")
    assert done.exit_code == 2
    assert chat.received == []
    assert "2 requests to" in done.stdout


def test_wrong_usage(expand, chat, write, tmp_path):
    """Every option that cannot be meant ends the command before a row is read."""
    file = write([row(1)])
    (tmp_path / "bad").write_text("{question} {comment}")
    for options in (
        ("--form", "other"),
        ("--form", "mm-rlhf", "--column", "prompt=question"),
        ("--on-failure", "zero"),
        ("--bad-rows", "ignore"),
        ("--length-field", "tokens"),
        ("--extra-body", "[]"),
        ("--extra-body", '{"model": "x"}'),
        ("--base-url", "ftp://host"),
        ("--base-url", "http://user:word@host/v1"),
        ("--model", " "),
        ("--template", tmp_path / "bad"),
        ("--template", tmp_path / "none"),
        ("--tokenizer", tmp_path / "none"),
        ("--image-root", tmp_path / "none"),
        ("--output", tmp_path / "none" / "out.jsonl"),
        ("--output", file),
        ("--split", "train"),
    ):
        done = expand(file, *options)
        assert done.exit_code == 2, (options, done.output)
        assert re.search("Error|Usage", done.output)
    assert expand(tmp_path / "none.jsonl").exit_code == 2
    assert chat.received == []


@pytest.mark.parametrize(("answer", "sent", "code"), [("n", 0, 1), ("y", 2, 0)])
def test_somebody_at_a_terminal_is_asked(chat, write, tmp_path, answer, sent, code):
    """Only a yes sends anything."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from mmreward_trainer.cli.main import main; main()"),
            *("expand", str(write([row(1)])), "--output", str(tmp_path / "out.jsonl")),
            *("--model", "writer", "--base-url", f"{chat.url}/v1"),
        ],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert "Send 2 requests?" in done.stdout
    assert done.returncode == code, done.stderr
    assert len(chat.received) == sent


def test_what_an_endpoint_repeats_is_not_printed(expand, chat, write, tmp_path):
    """Error messages quote prompts; they go into the journal, shortened, and nowhere else."""

    def script(request):
        return Reply(422, {"error": {"message": json.dumps(request.body) + "A" * 5000}})

    chat.script = script
    file = write([row(n, prompt="Where is the secret door?") for n in range(4)])
    done = expand(file, "--stop-after", 3, "--concurrency", 1)
    assert done.exit_code == 1
    assert "rejected (HTTP 422)" in done.stderr
    assert "secret" not in done.output
    record = json.loads((tmp_path / "out.jsonl.journal.jsonl").read_text().splitlines()[0])
    assert len(record["reason"]) <= 300
