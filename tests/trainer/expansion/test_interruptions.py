"""kill -9, Ctrl-C, half lines and two writers: no paid reply is lost, and none is mixed up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from client_kit.scripted import Reply
from expansion_kit import KEY, comment_of, completion, expanding, lines, row
from mmreward_client.data import Where
from mmreward_client.errors import InvalidInput
from mmreward_trainer.expansion.endpoint import Endpoint, Patience
from mmreward_trainer.expansion.journal import Journal
from mmreward_trainer.expansion.requests import Request
from mmreward_trainer.expansion.sending import Sender
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.template import read_template

ROWS = 30


@pytest.fixture
def slow(chat):
    """Every reply takes a while, so that there is a midst to interrupt."""

    def script(request):
        chat.stopping.wait(0.05)
        return expanding(request) if request.body else Reply(drop="before")

    chat.script = script
    return chat


@pytest.fixture
def start(slow, write, tmp_path):
    """Starts the real command as a process of its own; ends those that are left."""
    started = []

    def start(file, *options):
        program = [
            *(sys.executable, "-c", "from mmreward_trainer.cli.main import main; main()"),
            *("expand", str(file), "--output", str(tmp_path / "out.jsonl"), "--model", "writer"),
            *("--base-url", f"{slow.url}/v1", "--yes", *map(str, options)),
        ]
        environment = {**os.environ, "OPENAI_API_KEY": KEY}
        process = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition, timeout_s=120.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def replies(tmp_path):
    journal = tmp_path / "out.jsonl.journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def asked(chat):
    """How often each comment has arrived whole; a kill can cut a request in two."""
    return Counter(comment_of(request) for request in chat.received if request.body)


def test_kill_and_resume(start, slow, expand, write, tmp_path):
    """After kill -9 and half a line, every reply of the journal is used and the rest asked for."""
    file = write([row(n) for n in range(ROWS)])
    process = start(file, "--concurrency", 4)
    wait_for(lambda: replies(tmp_path) >= 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.jsonl").exists()
    journal = tmp_path / "out.jsonl.journal.jsonl"
    written = journal.read_bytes().splitlines(keepends=True)
    assert 10 <= len(written) < 2 * ROWS
    journal.write_bytes(b"".join(written[:-1]) + written[-1][:25])
    kept = [json.loads(line) for line in written[:-1]]
    before = asked(slow)

    done = expand(file)
    assert done.exit_code == 0, done.output
    assert "the journal ended in half a line (25 bytes): cut off" in done.stderr
    assert f"{len(kept)} are answered already" in done.stdout
    again = asked(slow) - before
    kept_comments = {one["text"].removeprefix("In full: ") for one in kept}
    assert not kept_comments & set(again)
    assert sum(again.values()) == 2 * ROWS - len(kept)
    assert journal.read_bytes().startswith(b"".join(written[:-1]))
    found = lines(tmp_path / "out.jsonl")
    assert [one["chosen_reason"] for one in found] == [f"In full: good {n}" for n in range(ROWS)]
    assert [one["rejected_reason"] for one in found] == [f"In full: bad {n}" for n in range(ROWS)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_an_interrupt_waits_for_what_is_under_way(start, slow, write, tmp_path, number):
    """Exit 1; whatever the endpoint has begun to answer is in the journal."""
    process = start(write([row(n) for n in range(ROWS)]), "--concurrency", 4)
    wait_for(lambda: replies(tmp_path) >= 8)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert replies(tmp_path) == len(slow.received) < 2 * ROWS
    record = json.loads((tmp_path / "out.jsonl.run.json").read_text())
    assert record["sent"]["requests"] == len(slow.received)
    assert record["written"] is None


@pytest.mark.parametrize("error", [InvalidInput("a row changed"), OSError(28, "disk full")])
def test_a_source_that_fails_midway(chat, tmp_path, error):
    """The error is raised as it is, and the replies until then are in the journal."""
    settings = Settings("writer", f"{chat.url}/v1", read_template())
    where = Where("pairs.jsonl", 1)

    def requests():
        for number in range(4):
            yield Request(str(number), "q", "a", f"good {number}", (), where, "chosen")
        raise error

    async def send(journal):
        async with Endpoint(settings.base_url, KEY, Patience()) as endpoint:
            sender = Sender(settings, endpoint, journal, 1, 5, lambda sent: None)
            await sender.send(requests())

    with Journal(tmp_path / "journal", settings) as journal:
        with pytest.raises(type(error)) as caught:
            asyncio.run(send(journal))
        assert caught.value is error
        assert journal.statuses() == {"ok": 4}


def test_two_runs_do_not_share_a_journal(start, expand, write, tmp_path):
    """The second is refused while the first runs, and welcome afterwards."""
    file = write([row(n) for n in range(ROWS)])
    process = start(file, "--concurrency", 1)
    wait_for(lambda: replies(tmp_path) >= 1)
    done = expand(file)
    assert done.exit_code == 1
    assert "is being written by another process" in done.stderr
    process.kill()
    process.communicate()
    assert expand(file).exit_code == 0


def test_progress_without_a_terminal(slow, expand, write, monkeypatch):
    """A log gets lines now and then, with the tokens used so far."""
    monkeypatch.setattr("mmreward_trainer.expansion.progress._SECONDS_PER_LINE", 0.0)
    done = expand(write([row(1)]), "--concurrency", 1)
    assert re.findall(r"expanding: (\d of 2, \d+ \+ \d+ tokens)", done.stderr) == [
        "1 of 2, 100 + 4 tokens",
        "2 of 2, 200 + 8 tokens",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{oops",
        "[]",
        "{}",
        '{"key": "k", "status": "fine", "text": "t", "max_completion_tokens": 1}',
        '{"key": "k", "status": "ok", "text": null, "max_completion_tokens": 1}',
        '{"key": "k", "status": "empty", "text": "t", "max_completion_tokens": 1}',
        '{"key": "k", "status": "ok", "text": "t"}',
    ],
)
def test_a_file_that_is_no_journal(expand, chat, write, tmp_path, line):
    """A whole line that is no reply is told of with its place; the file stays as it was."""
    journal = tmp_path / "out.jsonl.journal.jsonl"
    file = write([row(1)])
    expand(file)
    content = journal.read_text() + line + "\n"
    journal.write_text(content)
    done = expand(file)
    assert done.exit_code == 1
    assert f"{journal}:3: " in done.stderr
    assert journal.read_text() == content
    assert len(chat.received) == 2


def test_a_later_line_replaces_an_earlier_one(expand, chat, write, tmp_path):
    """An answer that was asked for again is the one that counts."""
    file = write([row(1, rejected_reason=None)])
    chat.replies = [Reply(body=completion(""))]
    expand(file, "--on-failure", "drop")
    assert expand(file, "--retry-failed").exit_code == 0
    settings = Settings("writer", f"{chat.url}/v1", read_template())
    with Journal(tmp_path / "out.jsonl.journal.jsonl", settings, writable=False) as journal:
        assert journal.statuses() == {"ok": 1}
    assert lines(tmp_path / "out.jsonl")[0]["chosen_reason"] == "In full: good 1"


def test_a_journal_has_one_writer(tmp_path):
    """Readers are not kept out; the lock ends with the one who has it."""
    settings = Settings("writer", "http://127.0.0.1/v1", read_template())
    path = tmp_path / "journal"
    with Journal(path, settings):
        with pytest.raises(InvalidInput, match="another process"):
            Journal(path, settings)
        Journal(path, settings, writable=False).close()
    Journal(path, settings).close()
