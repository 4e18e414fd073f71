"""`mmreward evaluate FILE` through the real service: answers, failures, kill and resume."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict

import pytest
from mmreward_client.cli.app import app
from mmreward_service.engine.fake import FakeEngine
from PIL import Image
from typer.testing import CliRunner


def evaluate(*arguments):
    return CliRunner().invoke(
        app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200", "NO_COLOR": "1"}
    )


def row(number, image="mcq/0.png", **fields):
    texts = {
        "chosen": f"Answer {number} is right.",
        "rejected": f"Answer {number} is wrong, maybe.",
    }
    return {"id": f"q{number // 2}", "image": image, "prompt": "Which?", **texts, **fields}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def released_metrics(path):
    """The released metric script told again: overall ACC and ACC+ of a file without failures."""
    questions = defaultdict(list)
    for answer in lines(path):
        questions[answer["id"]].append(answer["rewards"][0] > answer["rewards"][1])
    every = [right for rights in questions.values() for right in rights]
    return sum(every) / len(every), sum(map(all, questions.values())) / len(questions)


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def url(make_service, engine):
    return make_service(engine)


def test_answers_and_figures(url, pictures, write, tmp_path):
    """Every row is answered with its own fields kept; the figures are those of the answer file."""
    rows = [row(n, f"mcq/{n % 3}.png", extra={"n": n}) for n in range(9)]
    rows.append(row(9, image=["short/0.png", "short/1.png"]))
    rows.append({**row(10), "image": None, "video": "video/clip"})
    file, output = write("bench.jsonl", rows), tmp_path / "answers.jsonl"
    done = evaluate(
        *(file, "--url", url, "--image-root", pictures, "--output", output, "--json"),
        *("--batch-size", "3", "--concurrency", "2"),
    )
    assert done.exit_code == 0, done.output
    answers = lines(output)
    assert [
        {name: answer[name] for name in asked} for answer, asked in zip(answers, rows, strict=True)
    ] == rows
    for answer in answers:
        assert answer["status"] == "ok"
        assert answer["error"] is None
        assert answer["delta"] == pytest.approx(answer["rewards"][0] - answer["rewards"][1])
        assert 0 < answer["prob"] < 1
        assert all(answer["critic"])
        assert len(answer["fingerprint"]) == 64
    said = json.loads(done.stdout)
    assert said == json.loads(evaluate("--answers", output, "--json").stdout)
    assert (said["overall"]["acc"], said["overall"]["acc_plus"]) == released_metrics(output)
    assert said["calibration"]["pairs"] == 11


def test_the_score_is_of_the_right_picture(url, pictures, write, tmp_path):
    """Pictures come from --image-root, in every batch size the same ones."""
    file = write("bench.jsonl", [row(n, f"mcq/{n}.png", chosen="same") for n in range(3)])
    rewards = []
    for size in (1, 3):
        output = tmp_path / f"{size}.jsonl"
        done = evaluate(
            file, "--url", url, "--image-root", pictures, "--output", output, "--batch-size", size
        )
        assert done.exit_code == 0, done.output
        rewards.append([answer["rewards"][0] for answer in lines(output)])
    assert rewards[0] == rewards[1]
    assert len(set(rewards[0])) == 3


def test_frames_of_a_video(url, engine, pictures, write, tmp_path):
    """A folder is sampled evenly from its first to its last frame."""
    rows = [{**row(0), "image": None, "video": "video/clip"}]
    file, output = write("bench.jsonl", rows), tmp_path / "a.jsonl"
    engine.pictures_seen.clear()
    options = ("--image-root", pictures, "--output", output, "--frames", "3", "--fps", "4")
    assert evaluate(file, "--url", url, *options).exit_code == 0
    seen = {image.tobytes() for image in engine.pictures_seen}
    taken = [Image.open(pictures / "video" / "clip" / f"{n}.png") for n in (0, 2, 4)]
    assert seen == {image.convert("RGB").tobytes() for image in taken}


def test_failures_are_answered_as_failures(url, pictures, write, tmp_path):
    """A missing picture and a cut critique are null with a reason; the others have rewards."""
    rows = [row(0), row(1, "mcq/none.png"), row(2, chosen="[[truncated]]"), row(3, prompt="")]
    file, output = write("bench.jsonl", rows), tmp_path / "a.jsonl"
    done = evaluate(file, "--url", url, "--image-root", pictures, "--output", output)
    assert done.exit_code == 0, done.output
    answers = lines(output)
    assert [answer["status"] for answer in answers] == ["ok", "invalid", "truncated", "invalid"]
    assert [answer["rewards"] is None for answer in answers] == [False, True, True, True]
    assert f"{file}:2: image: 'mcq/none.png' is not there" in done.stderr
    assert "none.png" in answers[1]["error"]
    assert "3 of 4 items failed: 2 invalid, 1 truncated" in done.stderr
    assert "coverage 0.250" in done.stdout


def test_what_failed_is_asked_again(url, engine, pictures, write, tmp_path):
    """A second run asks for the failed rows alone and leaves each row with one line."""
    rows = [row(n, f"mcq/{n}.png") for n in range(4)]
    file, output = write("bench.jsonl", rows), tmp_path / "a.jsonl"
    command = (file, "--url", url, "--image-root", pictures, "--output", output)
    evaluate(*command)
    before = engine.finished
    (pictures / "mcq" / "3.png").write_bytes((pictures / "mcq" / "0.png").read_bytes())
    done = evaluate(*command)
    assert done.exit_code == 0, done.output
    assert "3 pairs are answered already" in done.stderr
    assert "1 lines without rewards are asked again" in done.stderr
    assert engine.finished - before == 2
    assert [answer["image"] for answer in lines(output)] == [each["image"] for each in rows]
    assert all(answer["rewards"] for answer in lines(output))


def test_a_complete_file_is_not_touched(url, engine, pictures, write, tmp_path):
    """Running a finished evaluation again scores nothing and changes no byte."""
    file, output = write("bench.jsonl", [row(0), row(1)]), tmp_path / "a.jsonl"
    command = (file, "--url", url, "--image-root", pictures, "--output", output)
    evaluate(*command)
    before, content = engine.finished, output.read_bytes()
    assert evaluate(*command).exit_code == 0
    assert engine.finished == before
    assert output.read_bytes() == content


def test_equal_rows_are_all_answered(url, pictures, write, tmp_path):
    """A benchmark may hold a row twice: both have a line, and a resumed run adds no third."""
    file, output = write("bench.jsonl", [row(0), row(0), row(1)]), tmp_path / "a.jsonl"
    command = (file, "--url", url, "--image-root", pictures, "--output", output)
    for _ in range(2):
        assert evaluate(*command).exit_code == 0
        assert len(lines(output)) == 3


def test_kill_and_resume(make_service, pictures, write, tmp_path):
    """After kill -9 with a line cut in two, every row has one answer and none was scored twice."""
    engine = FakeEngine(seconds_per_token=0.004)
    url = make_service(engine)
    rows = [row(n, f"mcq/{n % 3}.png") for n in range(12)]
    file, output = write("bench.jsonl", rows), tmp_path / "a.jsonl"
    command = ("--url", url, "--image-root", pictures, "--output", output, "--batch-size", 1)
    arguments = [str(part) for part in (file, *command, "--concurrency", 1)]
    program = [sys.executable, "-m", "mmreward_client.cli.main", "evaluate", *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: output.exists() and output.read_bytes().count(b"\n") >= 4)
        process.kill()
        process.communicate()
    wait_for(lambda: engine.running == 0)
    written = output.read_bytes().splitlines(keepends=True)
    assert 4 <= len(written) < 12
    output.write_bytes(b"".join(written[:-1]) + written[-1][:40])
    kept = written[:-1]
    before = engine.finished
    done = evaluate(file, *command)
    assert done.exit_code == 0, done.output
    assert engine.finished - before == 2 * (12 - len(kept))
    assert output.read_bytes().splitlines(keepends=True)[: len(kept)] == kept
    answers = lines(output)
    assert [answer["chosen"] for answer in answers] == [each["chosen"] for each in rows]
    assert all(answer["rewards"] for answer in answers)


def test_two_runs_do_not_write_one_file(make_service, pictures, write, tmp_path):
    """The second is refused while the first is at work, and the answers of the first are whole."""
    engine = FakeEngine(seconds_per_token=0.004)
    url = make_service(engine)
    file, output = write("bench.jsonl", [row(n) for n in range(8)]), tmp_path / "a.jsonl"
    command = (file, "--url", url, "--image-root", pictures, "--output", output, "--batch-size", 1)
    program = [sys.executable, "-m", "mmreward_client.cli.main", "evaluate"]
    first = subprocess.Popen([*program, *map(str, command), "--concurrency", "1"])
    try:
        wait_for(lambda: output.exists() and output.read_bytes().count(b"\n") >= 1)
        done = evaluate(*command)
        assert done.exit_code == 1
        assert f"{output} is being written by another process" in done.stderr
    finally:
        assert first.wait(60) == 0
    assert len(lines(output)) == 8


def test_another_model_is_refused(make_service, url, pictures, write, tmp_path):
    """Answers of two fingerprints do not get into one file, and the file stays as it was."""
    file, output = write("bench.jsonl", [row(0), row(1)]), tmp_path / "a.jsonl"
    evaluate(file, "--url", url, "--image-root", pictures, "--output", output)
    content = output.read_bytes()
    other = make_service(FakeEngine(model_name="another"))
    done = evaluate(file, "--url", other, "--image-root", pictures, "--output", output)
    assert done.exit_code == 1
    assert f"{output}:1: is of fingerprint" in done.stderr
    assert output.read_bytes() == content


def test_other_sampling_is_refused(url, pictures, write, tmp_path):
    """Nor do answers of two modes."""
    file, output = write("bench.jsonl", [row(0)]), tmp_path / "a.jsonl"
    command = (file, "--url", url, "--image-root", pictures, "--output", output)
    assert evaluate(*command).exit_code == 0
    done = evaluate(*command, "--mode", "none")
    assert done.exit_code == 1
    assert "'mode': 'generate'" in done.stderr
    assert "name another answer file" in done.stderr


def test_reference_critiques(url, pictures, write, tmp_path):
    """--mode given scores the benchmark's own reasons; a row without them fails."""
    reasons = {"chosen_reason": "It names the shape.", "rejected_reason": "It guesses."}
    file, output = write("bench.jsonl", [row(0, **reasons), row(1)]), tmp_path / "a.jsonl"
    options = ("--image-root", pictures, "--output", output, "--mode", "given")
    assert evaluate(file, "--url", url, *options).exit_code == 0
    good, bad = lines(output)
    assert good["critic"] == ["It names the shape.", "It guesses."]
    assert bad["status"] == "invalid"
    assert "required in mode given" in bad["error"]


def test_a_service_that_is_gone(url, engine, pictures, write, tmp_path):
    """Exit 1 with what to do next; the answers until then are kept and used."""
    rows = [row(0), row(1), row(2, chosen="[[dead]]"), row(3)]
    file, output = write("bench.jsonl", rows), tmp_path / "a.jsonl"
    options = ("--image-root", pictures, "--output", output, "--batch-size", 1)
    done = evaluate(file, "--url", url, *options, "--concurrency", 1, "--timeout", "3")
    assert done.exit_code == 1
    assert "the same command goes on from there" in done.stderr
    assert len([answer for answer in lines(output) if answer["rewards"]]) == 2


@pytest.mark.parametrize("bad", ["{oops", "[]", '{"image": "mcq/0.png"}'])
def test_a_damaged_benchmark_file_costs_nothing(url, engine, write, tmp_path, bad):
    """A line that is no row ends the command with its place before anything is scored."""
    file = write("bench.jsonl", [row(0)])
    file.write_text(file.read_text() + bad + "\n")
    before = engine.finished
    done = evaluate(file, "--url", url, "--output", tmp_path / "a.jsonl")
    assert done.exit_code == 1
    assert f"{file}:2: " in done.stderr
    assert engine.finished == before


def test_wrong_usage(url, write, tmp_path):
    """Both kinds of input, no file, an empty one, a folder that is not there: exit 2."""
    file = write("bench.jsonl", [row(0)])
    assert evaluate(file, "--answers", file).exit_code == 2
    assert evaluate(tmp_path / "none.jsonl", "--url", url).exit_code == 2
    assert evaluate(write("empty.jsonl", []), "--url", url).exit_code == 2
    nowhere = tmp_path / "none" / "a.jsonl"
    assert evaluate(file, "--url", url, "--output", nowhere).exit_code == 2
    assert evaluate(file, "--url", url, "--image-root", tmp_path / "none").exit_code == 2


def wait_for(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
