"""From answers to margins: what takes part, what is left out, what belongs together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pytest
from calibration_kit import rewarded, row
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.data import ReadOptions
from mmreward_client.data.forms import columns_of, reader_of
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.questions import QuestionFile
from mmreward_trainer.calibration.groups import group_numbers
from mmreward_trainer.calibration.margins import Margins, read_margins
from mmreward_trainer.calibration.validation import read_validation
from pyarrow import parquet


def margins(pairs: Path, answers: Path, **said: object) -> Margins:
    rows = list(read_validation(QuestionFile(pairs, ReadOptions(), "generate")))
    return read_margins(answers, rows, **said)


def test_margins_in_the_order_of_the_pairs(write) -> None:
    """Whatever the order of the answers: each row finds its own."""
    rows = [row(number) for number in range(20)]
    answers = rewarded(rows)
    pairs = write("pairs.jsonl", rows)
    found = margins(pairs, write("answers.jsonl", answers[::-1]))
    assert found.deltas.tolist() == [one["rewards"][0] for one in answers]
    assert (found.mode, found.critiques, found.fingerprint) == ("generate", 1, "f" * 16)
    assert found.categories == ("shapes", "colours") * 10


def test_what_is_left_out_is_counted(write) -> None:
    """Ties, failures, missing answers and missing pictures: by name, and never a number."""
    rows = [row(number) for number in range(10)]
    rows[2]["is_tie"] = True
    rows[6]["image"] = "nowhere.png"
    rows[8]["is_tie"] = "maybe"
    answers = rewarded(rows)
    answers[3] |= {"rewards": None, "status": "truncated"}
    answers[4] |= {"status": "unparsed"}
    answers[5] |= {"rewards": [1e308, -1e308]}
    del answers[7]
    found = margins(write("pairs.jsonl", rows), write("answers.jsonl", answers))
    assert dict(found.left_out) == {
        "tie": 1, "truncated": 1, "unparsed": 1, "not_finite": 1, "invalid": 2,
        "not_answered": 1,
    }  # fmt: skip
    assert len(found.deltas) == len(found.groups) == len(found.categories) == 3
    assert found.rows == 10


def test_pairs_of_one_picture_or_id_are_a_group(write, pictures: Path) -> None:
    """By the picture's content: a copy under another name is the same picture."""
    (pictures / "copy.png").write_bytes((pictures / "1.png").read_bytes())
    rows = [row(0), row(1), row(2, id="q0"), row(3, image="copy.png"), row(4)]
    found = margins(write("pairs.jsonl", rows), write("answers.jsonl", rewarded(rows)))
    assert found.groups.tolist() == [0, 1, 0, 1, 2]


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=3), max_size=12))
def test_groups_are_the_finest_partition_without_shared_names(shared: list[set[str]]) -> None:
    """Pairs with a name in common are together; merging by hand gives the same groups."""
    expected = [{place} for place in range(len(shared))]
    for place, names in enumerate(shared):
        for other in range(place):
            if names & shared[other]:
                merged = next(g for g in expected if place in g) | next(
                    g for g in expected if other in g
                )
                expected = [g for g in expected if not g & merged] + [merged]
    numbers = group_numbers([sorted(names) for names in shared])
    found = {frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers)}
    assert found == {frozenset(group) for group in expected}


def test_two_rows_of_the_same_text_have_an_answer_each(write) -> None:
    rows = [row(1), row(1), row(2)]
    answers = rewarded(rows)
    found = margins(write("pairs.jsonl", rows), write("answers.jsonl", answers))
    assert found.deltas.tolist() == [one["rewards"][0] for one in answers]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "0" * 16}, r"answers.jsonl:2: is of another model"),
        ({"request": {"mode": "none"}}, r"answers.jsonl:2: is of another model"),
        ({"prompt": "Another?"}, r"answers.jsonl:2: answers no row"),
        ({"rewards": [1.0]}, r"answers.jsonl:2: `rewards`"),
    ],
)
def test_a_foreign_answer_is_refused(write, change: dict[str, object], message: str) -> None:
    """With file and line: margins of two models are in two units."""
    rows = [row(number) for number in range(3)]
    answers = rewarded(rows)
    answers[1] |= change
    with pytest.raises(InvalidInput, match=message):
        margins(write("pairs.jsonl", rows), write("answers.jsonl", answers))


def test_more_answers_than_rows_are_refused(write) -> None:
    answers = rewarded([row(0), row(0)])
    with pytest.raises(InvalidInput, match="answers no row"):
        margins(write("pairs.jsonl", [row(0)]), write("answers.jsonl", answers))


@pytest.mark.parametrize(
    ("request_", "said", "message"),
    [
        (None, {}, "does not say with which mode"),
        (None, {"mode": "none"}, "does not say with which critiques"),
        ({"mode": "generate", "critiques": 8}, {"critiques": 4}, "with critiques 8, not 4"),
        ({"mode": "generate", "critiques": 8}, {"mode": "none"}, "with mode generate, not none"),
        ({"mode": "generate", "temperature": 0.7}, {}, "temperature 0.7"),
        ({"mode": "generate", "critiques": 8, "temperature": 0}, {}, "temperature 0"),
        ({"mode": "dream"}, {}, "'dream'"),
        ({"mode": "generate", "critiques": True}, {}, "expected a number"),
    ],
)
def test_how_the_answers_came_about_must_be_known(write, request_, said, message) -> None:
    """A calibration holds for one mode, one K, and the temperature that a service takes itself."""
    answers = rewarded([row(0)])
    answers[0]["request"] = request_
    with pytest.raises(InvalidInput, match=message):
        margins(write("pairs.jsonl", [row(0)]), write("answers.jsonl", answers), **said)


def test_an_answer_file_of_the_released_script_needs_to_be_told(write) -> None:
    """Rows with `rewards` and nothing else are read with --mode and --critiques."""
    rows = [row(0), row(1)]
    answers = [{**one, "rewards": [1.0, 0.5]} for one in rows]
    pairs, file = write("pairs.jsonl", rows), write("answers.jsonl", answers)
    found = margins(pairs, file, mode="given", critiques=1)
    assert (found.mode, found.critiques, found.fingerprint) == ("given", 1, None)


def test_rows_of_any_form_have_the_fingerprints_of_the_readers(write, pictures: Path) -> None:
    """Columns of other names, ties among them, and pictures inside a table: what a training run
    would list is what is looked up."""
    rows = [
        {
            "question": f"Which, {n}?",
            "good": "This.",
            "bad": "That.",
            "pic": f"{n}.png",
            "even": n == 2,
        }
        for n in range(4)
    ]
    columns = columns_of("prompt=question,chosen=good,rejected=bad,images=pic,is_tie=even")
    lines = write("named.jsonl", rows)
    table = pictures / "inside.parquet"
    inside = [{**one, "pic": (pictures / one["pic"]).read_bytes()} for one in rows]
    parquet.write_table(pyarrow.Table.from_pylist(inside), table)
    expected = [one.fingerprint() for one in reader_of(lines, "pairs", ReadOptions(), columns)]
    for path in (lines, table):
        found = list(read_validation(QuestionFile(path, ReadOptions(), "none", "pairs", columns)))
        assert [one.fingerprint for one in found] == expected
        assert [one.is_tie for one in found] == [False, False, True, False]
    assert len(set(expected)) == 4
