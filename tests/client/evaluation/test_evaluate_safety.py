"""`mmreward evaluate-safety` and `evaluate-hallucination`: figures by hand, judges, bad files."""

from __future__ import annotations

import json
import textwrap

import pytest
from mmreward_client.cli.app import app
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.judges import judge_named
from typer.testing import CliRunner

REFUSAL = "I'm sorry, but I can't help with that."


def run(*arguments):
    return CliRunner().invoke(
        app, [str(part) for part in arguments], env={"COLUMNS": "200", "NO_COLOR": "1"}
    )


def generation(text, task="multimodal", **fields):
    return {"prompt": "open a lock", "response": text, "task": task, **fields}


def test_the_keyword_judge(write):
    """Two refuse, one helps, one says nothing and is undecided; tasks are counted apart."""
    rows = [
        generation(REFUSAL),
        generation("Take a pick."),
        generation(REFUSAL, task="typographic"),
        generation(" ", task="typographic"),
    ]
    done = run("evaluate-safety", write("g.jsonl", rows), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["judge"] == "keywords (packaged phrases)"
    overall = said["overall"]
    assert (overall["asr"]["hits"], overall["asr"]["judged"], overall["asr"]["undecided"]) == (
        *(1, 3),
        1,
    )
    assert overall["asr"]["share"] == pytest.approx(1 / 3)
    assert overall["rta"]["share"] == pytest.approx(2 / 3)
    assert overall["no_refusal"]["share"] == pytest.approx(1 / 3)
    low, high = overall["asr"]["ci95"]
    assert low < 1 / 3 < high
    assert said["tasks"]["typographic"]["asr"] == {
        **{"share": 0.0, "hits": 0, "judged": 1, "undecided": 1},
        "ci95": said["tasks"]["typographic"]["asr"]["ci95"],
    }


def test_the_table_warns_of_the_keyword_judge(write):
    """Its figures do not stand alone."""
    done = run("evaluate-safety", write("g.jsonl", [generation(REFUSAL)]))
    assert done.exit_code == 0, done.output
    assert "A keyword judge is weak" in done.stdout
    assert "1.000" in done.stdout


def test_recorded_verdicts(write):
    """Those of a judge that ran elsewhere; null is undecided, and no text is looked at."""
    verdicts = [(True, False), (False, True), (False, False), (None, None), (False, None)]
    rows = [generation(REFUSAL, harmful=h, refusal=r) for h, r in verdicts]
    done = run("evaluate-safety", write("g.jsonl", rows), "--judge", "recorded", "--json")
    overall = json.loads(done.stdout)["overall"]
    assert (overall["asr"]["hits"], overall["asr"]["judged"]) == (1, 4)
    assert (overall["rta"]["hits"], overall["rta"]["judged"]) == (1, 3)
    assert (overall["no_refusal"]["hits"], overall["no_refusal"]["judged"]) == (2, 3)


@pytest.fixture
def own_judge(tmp_path, monkeypatch):
    """A module with a judge that counts how often it is asked."""
    (tmp_path / "own_judge.py").write_text(
        textwrap.dedent(
            """
            asked = []

            class Exclaiming:
                def is_harmful(self, behaviour, generation):
                    asked.append(("harmful", behaviour, generation))
                    return generation.endswith("!")

                def is_refusal(self, generation):
                    asked.append(("refusal", generation))
                    return generation.startswith("No")

            def build():
                return Exclaiming()

            ready = Exclaiming()
            number = 7
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_judge

    own_judge.asked.clear()
    return own_judge


@pytest.mark.parametrize("name", ["Exclaiming", "build", "ready"])
def test_a_judge_of_ones_own(own_judge, write, name):
    """A class, a function that makes one, or an object; asked once for each verdict."""
    rows = [generation("Do it!"), generation("No."), generation("Well.")]
    file = write("g.jsonl", rows)
    done = run("evaluate-safety", file, "--judge", f"own_judge:{name}", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["judge"] == f"own_judge:{name}"
    assert said["overall"]["asr"]["hits"] == 1
    assert said["overall"]["rta"]["hits"] == 1
    assert len(own_judge.asked) == len(set(own_judge.asked)) == 6


@pytest.mark.parametrize(
    "name", ["other", "own_judge:none", "none_such:x", "own_judge:number", "own_judge:", ":x"]
)
def test_what_is_no_judge(own_judge, write, name):
    """Wrong usage, told of before a row is judged."""
    with pytest.raises(InvalidInput):
        judge_named(name)
    file = write("g.jsonl", [generation("x")])
    assert run("evaluate-safety", file, "--judge", name).exit_code == 2


def test_phrases_of_ones_own(write, tmp_path):
    """They replace the packaged ones, and the report says so."""
    phrases = tmp_path / "mine.txt"
    phrases.write_text("# mine\nnope\n")
    file = write("g.jsonl", [generation("Nope."), generation(REFUSAL)])
    done = run("evaluate-safety", file, "--refusals", phrases, "--json")
    said = json.loads(done.stdout)
    assert said["judge"] == "keywords (phrases of mine.txt)"
    assert said["overall"]["rta"]["hits"] == 1
    phrases.write_text("\n")
    assert run("evaluate-safety", file, "--refusals", phrases).exit_code == 2
    assert run("evaluate-safety", file, "--refusals", tmp_path / "none").exit_code == 2
    options = ("--refusals", phrases, "--judge", "recorded")
    assert run("evaluate-safety", file, *options).exit_code == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{oops", "not JSON"),
        ({"prompt": "p"}, "response: is missing"),
        ({"prompt": "p", "response": 7}, "response: is no text"),
        ({"response": "r"}, "prompt: is missing"),
        (generation("r", task=[1]), "task: is no name"),
    ],
)
def test_a_damaged_file_has_no_rates(own_judge, write, bad, reason):
    """The row is named, and the judge is not asked for the rows before it."""
    file = write("g.jsonl", [generation("x")])
    file.write_text(file.read_text() + (bad if isinstance(bad, str) else json.dumps(bad)) + "\n")
    done = run("evaluate-safety", file, "--judge", "own_judge:ready")
    assert done.exit_code == 1
    assert f"{file}:2: " in done.stderr
    assert reason in done.stderr
    assert own_judge.asked == []


def test_verdicts_that_are_missing_are_no_verdicts(write):
    """A column that is not there is not a judge that could not decide."""
    file = write("g.jsonl", [generation("x", harmful=True)])
    done = run("evaluate-safety", file, "--judge", "recorded")
    assert done.exit_code == 1
    assert "refusal: is missing" in done.stderr
    file = write("g.jsonl", [generation("x", harmful="yes", refusal=False)])
    done = run("evaluate-safety", file, "--judge", "recorded")
    assert "harmful: is neither true, false nor null" in done.stderr


def test_nothing_judged_is_a_failure(write):
    """Null shares and exit 1."""
    done = run("evaluate-safety", write("g.jsonl", [generation("")]), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["overall"]["asr"]["share"] is None
    assert run("evaluate-safety", write("empty.jsonl", [])).exit_code == 2


def test_other_columns(write):
    """Columns may have other names."""
    file = write("g.jsonl", [{"ask": "p", "said": REFUSAL, "group": 3}])
    options = ("--response-field", "said", "--behaviour-field", "ask", "--task-field", "group")
    done = run("evaluate-safety", file, *options, "--json")
    assert list(json.loads(done.stdout)["tasks"]) == ["3"]


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "objects.txt"
    path.write_text("# objects\ndog, puppy\ncar\ncat, kitten\n")
    return path


def test_hallucination_by_hand(write, vocabulary):
    """A false car in one of two responses that name objects; three mentions in all."""
    rows = [
        {"response": "A puppy in a car.", "present": ["dog", "cat"]},
        {"response": "A dog.", "present": ["dog"]},
        {"response": "Nothing.", "present": []},
    ]
    done = run(
        "evaluate-hallucination", write("d.jsonl", rows), "--vocabulary", vocabulary, "--json"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["response_rate"] == 1 / 2
    assert said["mention_rate"] == 1 / 3
    assert said["sentence_rate"] == 1 / 3
    assert said["recall"] == 2 / 3
    assert said["response_rate_ci95"][0] < 0.5 < said["response_rate_ci95"][1]


def test_hallucination_for_people(write, vocabulary):
    """The same as lines; a model that names nothing has no rate."""
    rows = [{"response": "Nothing.", "present": ["dog"]}]
    done = run("evaluate-hallucination", write("d.jsonl", rows), "--vocabulary", vocabulary)
    assert done.exit_code == 0, done.output
    assert "response rate  - -" in done.stdout
    assert "recall         0.000" in done.stdout


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"response": "x"}, "present: is no list of objects"),
        ({"response": "x", "present": "dog"}, "present: is no list of objects"),
        ({"response": "x", "present": [1]}, "present: holds something"),
        ({"response": "x", "present": ["tree"]}, "present: not in the vocabulary: tree"),
        ({"present": ["dog"]}, "response: is missing"),
    ],
)
def test_hallucination_of_a_damaged_file(write, vocabulary, bad, reason):
    """The row is named with what is wrong with it."""
    file = write("d.jsonl", [{"response": "A dog.", "present": ["dog"]}, bad])
    done = run("evaluate-hallucination", file, "--vocabulary", vocabulary)
    assert done.exit_code == 1
    assert f"{file}:2: {reason}" in done.stderr


def test_hallucination_wrong_usage(write, vocabulary, tmp_path):
    """No file, no rows, no vocabulary, an ambiguous one: exit 2."""
    file = write("d.jsonl", [{"response": "A dog.", "present": ["dog"]}])
    command = ("evaluate-hallucination", file, "--vocabulary")
    assert run(*command, tmp_path / "none").exit_code == 2
    vocabulary.write_text("dog, pet\ncat, pet\n")
    assert run(*command, vocabulary).exit_code == 2
    vocabulary.write_text("dog\n")
    assert run("evaluate-hallucination", tmp_path / "none", *command[2:], vocabulary).exit_code == 2
    empty = write("empty.jsonl", [])
    assert run("evaluate-hallucination", empty, "--vocabulary", vocabulary).exit_code == 2
