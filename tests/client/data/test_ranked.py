"""Ranked responses: every two of different rank are a pair, and only these."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.data import ReadOptions, Where
from mmreward_client.data.columns import Columns
from mmreward_client.data.media import RowMedia
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.ranked import is_ranked, pairs_of_ranked
from mmreward_client.data.source import SourceRow

MEDIA = RowMedia.of(ReadOptions(), None)
RANKS = st.lists(st.none() | st.integers(0, 3), min_size=2, max_size=6)


def row(**fields):
    return SourceRow(Where("file", 7), {"id": "q", "prompt": "Which?", **fields})


@given(RANKS)
def test_all_pairs_of_different_rank(ranks):
    """Both ranked, the chosen one better: each such pair once, and no other."""
    responses = [f"answer {place}" for place in range(len(ranks))]
    expected = {
        (i, j)
        for i, better in enumerate(ranks)
        for j, worse in enumerate(ranks)
        if better is not None and worse is not None and better < worse
    }
    source = row(responses=responses, ranks=ranks)
    if not expected:
        with pytest.raises(FieldProblem, match="no two responses of different rank"):
            pairs_of_ranked(source, MEDIA)
        return
    found = pairs_of_ranked(source, MEDIA)
    assert len(found) == len(expected)
    assert {(one.chosen_place, one.rejected_place) for one in found} == expected
    for one in found:
        assert one.pair.chosen == responses[one.chosen_place]
        assert one.pair.rejected == responses[one.rejected_place]
        assert (one.pair.id, one.pair.prompt) == ("q", "Which?")


def test_equal_texts_are_no_pair():
    """A text is not better than itself, whatever ranks it was given; its other pairs stay."""
    found = pairs_of_ranked(row(responses=["a", "a", "b"], ranks=[1, 2, 3]), MEDIA)
    assert [(one.chosen_place, one.rejected_place) for one in found] == [(0, 2), (1, 2)]
    with pytest.raises(FieldProblem, match="responses: those of different rank are all the same"):
        pairs_of_ranked(row(responses=["a", "a"], ranks=[1, 2]), MEDIA)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"responses": ["a", "b"]}, "ranks: not a list"),
        ({"responses": "ab", "ranks": [1, 2]}, "responses: not a list"),
        ({"responses": ["a"], "ranks": [1]}, "two or more"),
        ({"responses": ["a", "b"], "ranks": [1]}, "1 ranks of 2 responses"),
        ({"responses": ["a", " "], "ranks": [1, 2]}, r"responses\[1\]: no text"),
        ({"responses": ["a", "b"], "ranks": [1, "2"]}, r"ranks\[1\]: '2' is no rank"),
        ({"responses": ["a", "b"], "ranks": [1, float("nan")]}, r"ranks\[1\]"),
        ({"responses": ["a", "b"], "ranks": [True, 2]}, r"ranks\[0\]"),
    ],
)
def test_rows_that_are_no_ranking(fields, message):
    """What is wrong is named by its field and place."""
    with pytest.raises(FieldProblem, match=message):
        pairs_of_ranked(row(**fields), MEDIA)


def test_columns_of_other_names():
    """The question's column may have another name, as in any table."""
    source = SourceRow(Where("file", 1), {"ask": "Q", "responses": ["a", "b"], "ranks": [2, 1]})
    (one,) = pairs_of_ranked(source, MEDIA, Columns(prompt="ask"))
    assert (one.pair.prompt, one.pair.chosen, one.pair.rejected) == ("Q", "b", "a")


def test_what_is_ranked():
    """A row of pairs is none, also where its columns are there and empty."""
    assert is_ranked({"responses": ["a"], "ranks": [1]})
    assert not is_ranked({"chosen": "a", "rejected": "b"})
    assert not is_ranked({"responses": None, "ranks": None, "chosen": "a"})
