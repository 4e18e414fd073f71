"""The answer file under way: what is kept, what is dropped, what is refused."""

from __future__ import annotations

import json

import pytest
from mmreward_client.data.options import ReadOptions
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answering import AnswerFile
from mmreward_client.evaluation.questions import read_questions
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.schema import PairResult, Scored

ORIGIN = Origin("sha256:f00d", {"mode": "generate"})


def scored(score):
    return Scored(status="ok", score=score)


def good(delta=1.0):
    return PairResult(
        index=0, status="ok", chosen=scored(delta), rejected=scored(0.0), delta=delta, prob=0.7
    )


FAILED = PairResult(index=0, status="deadline", error="too late")


@pytest.fixture
def questions(write, tmp_path):
    rows = [{"id": str(n), "prompt": "q", "chosen": "a", "rejected": "b"} for n in range(5)]
    return list(
        read_questions(write("b.jsonl", rows), ReadOptions(image_root=tmp_path), mode="generate")
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


def keys(questions):
    return {question.key for question in questions}


def fill(path, questions, results, origin=ORIGIN):
    with AnswerFile(path, origin, keys(questions)) as answers:
        for question, result in zip(questions, results, strict=False):
            answers.add(question, result)
    return path.read_bytes()


def ids(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_a_line_is_there_once_it_is_added(path, questions):
    """Nothing waits in a buffer of this process."""
    with AnswerFile(path, ORIGIN, keys(questions)) as answers:
        for count, question in enumerate(questions, start=1):
            answers.add(question, good())
            assert len(path.read_bytes().splitlines()) == count


def test_every_cut_of_the_file_resumes(path, questions):
    """Wherever a kill cuts the file, whole lines are kept, and the rest is asked for again."""
    content = fill(path, questions, [good()] * 5)
    starts = [0] + [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    edges = {start + step for start in starts for step in (-1, 0, 1)}
    for length in sorted({*range(0, len(content), 97), *edges} & {*range(len(content) + 1)}):
        path.write_bytes(content[:length])
        with AnswerFile(path, ORIGIN, keys(questions)) as answers:
            whole = sum(start <= length for start in starts) - 1
            assert len(answers.answered) == whole
            assert path.read_bytes() == content[: starts[whole]]


def test_failures_are_dropped_and_asked_again(path, questions):
    """A failed pair has no answer; the others keep theirs, byte for byte."""
    content = fill(path, questions, [good(), FAILED, good()]).splitlines(keepends=True)
    with AnswerFile(path, ORIGIN, keys(questions)) as answers:
        assert len(answers.answered) == 2
        assert answers.asked_again == 1
        assert questions[1].key not in answers.answered
    assert path.read_bytes() == content[0] + content[2]


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        (Origin("sha256:beef", {"mode": "generate"}), "is of fingerprint sha256:f00d"),
        (Origin("sha256:f00d", {"mode": "none"}), "was asked for with"),
    ],
)
def test_another_origin_is_refused(path, questions, origin, reason):
    """The file stays as it is, whatever is asked of it."""
    content = fill(path, questions, [good(), FAILED])
    with pytest.raises(InvalidInput, match=rf"answers\.jsonl:1: {reason}"):
        AnswerFile(path, origin, keys(questions))
    assert path.read_bytes() == content


def test_rows_of_another_benchmark_are_refused(path, questions):
    """An answer to no question would count in the accuracy of this benchmark."""
    fill(path, questions, [good()] * 5)
    with pytest.raises(InvalidInput, match="5: answers no row"):
        AnswerFile(path, ORIGIN, keys(questions[:4]))


@pytest.mark.parametrize("line", ["{oops\n", '{"id": "1"}\n', '{"id": "1", "rewards": [1, 2]}\n'])
def test_a_file_of_someone_else_is_refused(path, questions, line):
    """Nothing that this command did not write is overwritten or dropped."""
    path.write_text(line + line)
    with pytest.raises(InvalidInput, match=r"answers\.jsonl:1: "):
        AnswerFile(path, ORIGIN, keys(questions))
    assert path.read_text() == line + line


def test_a_failed_line_says_why(path, questions):
    """Null rewards, the status and the reason; no number anywhere."""
    line = json.loads(fill(path, questions, [FAILED]))
    assert line["rewards"] is None
    assert line["delta"] is None
    assert (line["status"], line["error"]) == ("deadline", "too late")
    assert ids(path) == ["0"]
