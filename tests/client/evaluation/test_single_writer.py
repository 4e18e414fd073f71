"""Locks of files that one process writes."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from mmreward_client.data.options import ReadOptions
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answering import AnswerFile
from mmreward_client.evaluation.questions import QuestionFile
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.evaluation.single_writer import open_locked
from mmreward_client.schema import PairResult, Scored

ORIGIN = Origin("sha256:f00d", {"mode": "generate"})
GOOD = PairResult(
    index=0,
    status="ok",
    chosen=Scored(status="ok", score=1.0),
    rejected=Scored(status="ok", score=0.0),
    delta=1.0,
)
FAILED = PairResult(index=0, status="deadline", error="too late")


def hold(path, pipe):
    file = open_locked(path)
    pipe.send("held")
    pipe.recv()
    file.close()


def test_another_process_is_kept_out_until_it_is_over(tmp_path):
    """Also by a kill: no stale lock is left."""
    path = tmp_path / "a.jsonl"
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(path, theirs))
    process.start()
    assert ours.poll(120), "the other process has not come up"
    assert ours.recv() == "held"
    with pytest.raises(InvalidInput, match=r"a\.jsonl is being written by another process"):
        open_locked(path)
    process.kill()
    process.join()
    open_locked(path).close()
    ours.close()
    theirs.close()


@pytest.fixture
def questions(write, tmp_path):
    rows = [{"id": str(n), "prompt": "q", "chosen": "a", "rejected": "b"} for n in range(3)]
    file = QuestionFile(write("b.jsonl", rows), ReadOptions(image_root=tmp_path), "generate")
    return list(file)


def test_an_answer_file_has_one_writer(tmp_path, questions):
    """From opening to closing, also after the file was replaced to drop failed answers."""
    path = tmp_path / "a.jsonl"
    keys = {question.key for question in questions}
    with AnswerFile(path, ORIGIN, keys) as answers:
        with pytest.raises(InvalidInput, match="another process"):
            AnswerFile(path, ORIGIN, keys)
        for question, result in zip(questions, (GOOD, FAILED), strict=False):
            answers.add(question, result)
    inode = path.stat().st_ino
    with AnswerFile(path, ORIGIN, keys) as answers:
        assert path.stat().st_ino != inode
        with pytest.raises(InvalidInput, match="another process"):
            AnswerFile(path, ORIGIN, keys)
        answers.add(questions[1], GOOD)
    with AnswerFile(path, ORIGIN, keys) as answers:
        assert len(answers.answered) == 2


def test_a_refused_file_is_free_again(tmp_path, questions):
    """Who is refused because of the content does not keep the lock."""
    path = tmp_path / "a.jsonl"
    path.write_text("{oops\n")
    with pytest.raises(InvalidInput, match="not JSON"):
        AnswerFile(path, ORIGIN, {question.key for question in questions})
    open_locked(path).close()


def test_a_file_that_was_replaced_meanwhile(tmp_path, monkeypatch):
    """A lock on what has lost its name is no lock: the new file is locked instead."""
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    replaced = []
    from mmreward_client.evaluation import single_writer

    take = single_writer.lock

    def replace_then_lock(file, name):
        if not replaced:
            (tmp_path / "new").write_text("new")
            os.replace(tmp_path / "new", path)
            replaced.append(True)
        take(file, name)

    monkeypatch.setattr(single_writer, "lock", replace_then_lock)
    with open_locked(path) as file:
        file.seek(0)
        assert file.read() == b"new"


def test_a_failed_replacement_leaves_nothing_behind(tmp_path, questions, monkeypatch):
    """A full disk while failed answers are dropped: the answers stay, half a copy does not."""
    path = tmp_path / "a.jsonl"
    keys = {question.key for question in questions}
    with AnswerFile(path, ORIGIN, keys) as answers:
        for question, result in zip(questions, (GOOD, FAILED), strict=False):
            answers.add(question, result)
    content = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            AnswerFile(path, ORIGIN, keys)
    assert path.read_bytes() == content
    assert not list(tmp_path.glob("*.part"))
    with AnswerFile(path, ORIGIN, keys) as answers:
        assert len(answers.answered) == 1
