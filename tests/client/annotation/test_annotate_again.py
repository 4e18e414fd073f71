"""`mmreward annotate` once more: what is kept, asked again, refused, and survives a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from client_kit.annotating import annotate, lines, pair, wait_for
from mmreward_client import dynamic_beta
from mmreward_client.evaluation.single_writer import open_locked
from mmreward_client.testing import Fault, FaultPlan, LocalService


def test_failed_responses_are_null_and_asked_again(local, pictures, write, tmp_path):
    """A failure of one side leaves the other its score; a second run asks for what failed alone."""
    file, output = write("pairs.jsonl", [pair(0), pair(1)]), tmp_path / "out.jsonl"
    local.script(Fault("null", status="unparsed"), None)
    options = ("--output", output, "--batch-size", 1, "--concurrency", 1)
    assert annotate(file, *options, url=local.url).exit_code == 0
    broken, good = lines(output)
    assert (broken["status"], broken["delta"], broken["beta"]) == ("unparsed", None, None)
    assert broken["error"].startswith("chosen: ")
    assert broken["rejected_score"] is not None
    assert good["status"] == "ok"
    done = annotate(file, *options, url=local.url)
    assert "3 responses are scored already" in done.stderr
    assert [line["status"] for line in lines(output)] == ["ok", "ok"]
    assert [asked.items[0]["response"] for asked in local.asked] == [
        "Right 0.",
        "Wrong 0.",
        "Right 1.",
        "Wrong 1.",
        "Right 0.",
    ]


def test_other_constants_score_nothing(local, pictures, write, tmp_path):
    """β is computed anew from the scores that are there."""
    file, output = write("pairs.jsonl", [pair(0), pair(1)]), tmp_path / "out.jsonl"
    annotate(file, "--output", output, url=local.url)
    asked = len(local.asked)
    assert annotate(file, "--output", output, "--w", 2.0, "--k", 3, url=local.url).exit_code == 0
    assert len(local.asked) == asked
    for line in lines(output):
        assert line["beta"] == dynamic_beta(line["delta"], w=2.0, k=3.0)


def test_rows_may_come_and_go(local, pictures, write, tmp_path):
    """Scores of rows that are gone do no harm and are there when the rows come back."""
    output = tmp_path / "out.jsonl"
    rows = [pair(n) for n in range(4)]
    for kept, asked, told in ((rows[:3], 6, None), (rows[1:], 8, 4), (rows, 8, 8)):
        file = write("pairs.jsonl", kept)
        done = annotate(file, "--output", output, url=local.url)
        assert done.exit_code == 0, done.output
        assert sum(len(one.items) for one in local.asked) == asked
        assert told is None or f"{told} responses are scored already" in done.stderr
        assert [line["id"] for line in lines(output)] == [row["id"] for row in kept]
        assert all(line["delta"] is not None for line in lines(output))


def test_kill_and_resume(pictures, write, tmp_path):
    """After kill -9 every row is there once, nothing that was scored is asked again."""
    rows = [pair(n) for n in range(12)]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    collected = tmp_path / "out.scores.jsonl"
    options = ("--output", str(output), "--batch-size", "1", "--concurrency", "2")
    with LocalService(latency_s=0.05) as service:
        program = [sys.executable, "-m", "mmreward_client.cli.main", "annotate", str(file)]
        program.append("--no-picture")
        command = [*program, *options, "--url", service.url]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda: collected.exists() and collected.read_bytes().count(b"\n") >= 6)
            process.kill()
        wait_for(lambda: service.in_flight == 0)
        assert not output.exists()
        content = collected.read_bytes()
        whole, _, cut = content.rpartition(b"\n")[0].rpartition(b"\n")
        collected.write_bytes(whole + b"\n" + cut[: len(cut) // 2])
        kept = {json.loads(line)["key"] for line in whole.splitlines()}
        before = len(service.asked)
        done = annotate(file, *options, url=service.url)
        assert done.exit_code == 0, done.output
        asked_then = [asked.items[0]["id"] for asked in service.asked[before:]]
    assert len(kept) + len(asked_then) == 24
    assert not kept & set(asked_then)
    found = lines(output)
    assert [line["id"] for line in found] == [row["id"] for row in rows]
    assert all(line["delta"] is not None for line in found)


def test_two_runs_do_not_share_a_file(local, pictures, write, tmp_path):
    """While another process writes the scores, nothing is asked and nothing written."""
    file, output = write("pairs.jsonl", [pair(0)]), tmp_path / "out.jsonl"
    with open_locked(tmp_path / "out.scores.jsonl"):
        done = annotate(file, "--output", output, url=local.url)
    assert done.exit_code == 1
    assert "is being written by another process" in done.stderr
    assert not local.asked
    assert not output.exists()


def test_another_model_is_refused(local, pictures, write, tmp_path):
    """Scores of two models do not get into one file, at the start or midway."""
    file, output = write("pairs.jsonl", [pair(0), pair(1)]), tmp_path / "out.jsonl"
    options = ("--output", output, "--batch-size", 1, "--concurrency", 1)
    local.script(None, Fault("other_model"))
    done = annotate(file, *options, url=local.url)
    assert done.exit_code == 1
    assert "PinMismatch" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert not output.exists()
    assert len(lines(tmp_path / "out.scores.jsonl")) == 1
    local.fingerprint = "new weights"
    done = annotate(file, *options, url=local.url)
    assert done.exit_code == 1
    assert "is of fingerprint local-service, the service is new weights" in done.stderr


def test_a_pin_holds_where_every_score_is_there(local, pictures, write, tmp_path):
    """Nothing is asked then, and the command ends all the same, with the output as it was."""
    file, output = write("pairs.jsonl", [pair(0)]), tmp_path / "out.jsonl"
    options = ("--output", output, "--pin", "local-service")
    assert annotate(file, *options, url=local.url).exit_code == 0
    assert annotate(file, *options, url=local.url).exit_code == 0
    before = output.stat().st_mtime_ns
    done = annotate(file, "--output", output, "--pin", "another", url=local.url)
    assert done.exit_code == 1
    assert "PinMismatch" in done.stderr
    assert output.stat().st_mtime_ns == before
    assert len(local.asked) == 1


def test_faults_on_the_way(pictures, write, tmp_path):
    """Overload, drops and a loading service cost time and change no number."""
    rows = [pair(n) for n in range(20)]
    file = write("pairs.jsonl", rows)
    kinds = ("overloaded", "not_ready", "drop", "drop_in_body")
    plan = FaultPlan(chances={Fault(kind, retry_after_s=None): 0.06 for kind in kinds}, seed=1)
    # One request at a time draws the same faults every time: none of them too often in a row.
    options = ("--batch-size", 2, "--concurrency", 1)
    deltas = []
    for place, faults in enumerate((FaultPlan(), plan)):
        output = tmp_path / f"{place}.jsonl"
        with LocalService(faults=faults) as service:
            done = annotate(file, "--output", output, *options, url=service.url)
            assert done.exit_code == 0, done.output
            assert bool(service.injected) == bool(place)
        deltas.append([line["delta"] for line in lines(output)])
    assert deltas[0] == deltas[1]
    assert None not in deltas[0]


def test_an_interrupted_run_tells_how_to_go_on(pictures, write, tmp_path):
    """Ctrl-C keeps the scores and says where they are."""
    file, output = write("pairs.jsonl", [pair(n) for n in range(30)]), tmp_path / "out.jsonl"
    collected = tmp_path / "out.scores.jsonl"
    program = [sys.executable, "-m", "mmreward_client.cli.main", "annotate", "--no-picture"]
    with LocalService(latency_s=0.05) as service:
        command = [*program, str(file), "--output", str(output), "--url", service.url]
        more = ["--batch-size", "1", "--concurrency", "1"]
        with subprocess.Popen(
            [*command, *more],
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job, as the tests may be one, ignores SIGINT and hands that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            wait_for(lambda: collected.exists() and collected.stat().st_size)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert f"the scores so far are in {collected}; the same command goes on" in said
    assert "Traceback" not in said
