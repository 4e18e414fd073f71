r"""Two scores at the end of a text, or the reason why there are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.reward.judgement import Unparsed, parse_scores

RANGE = (1.0, 10.0)
POINTS = st.integers(1, 10) | st.floats(1, 10).map(lambda score: round(score, 2))
PROSE = st.text(alphabet="ab {},.0123456789\n\\x", max_size=40)


@given(PROSE, POINTS, POINTS)
def test_the_scores_at_the_end_are_read(before: str, first: float, second: float) -> None:
    """Whatever stands before them, other boxes and braces included."""
    text = f"{before} \\boxed{{9, 9}} Scores: \\boxed{{{first}, {second}}}"
    assert parse_scores(text, RANGE) == (first, second)


@pytest.mark.parametrize("end", ["", ".", "$", "$.", "\n", " \n\n", "**", "\\]", "\\)"])
def test_closing_punctuation_belongs_to_the_box(end: str) -> None:
    """Models wrap their boxes in mathematics or bold type."""
    assert parse_scores("Scores: \\boxed{8, 3.5}" + end, RANGE) == (8.0, 3.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Scores: 8, 3",
        "\\boxed{}",
        "\\boxed{8}",
        "\\boxed{8, 3, 1}",
        "\\boxed{8; 3}",
        "\\boxed{eight, three}",
        "\\boxed{nan, 3}",
        "\\boxed{1e999, 3}",
        "\\boxed{8, 3",
        "\\boxed{0, 3}",
        "\\boxed{8, 10.5}",
    ],
)
def test_anything_else_is_unparsed(text: str) -> None:
    """No box, an open one, other counts, no numbers, not finite, out of range."""
    assert isinstance(parse_scores(text, RANGE), Unparsed)


@pytest.mark.parametrize(
    "end",
    [
        "Scores: \\boxed{\\mathbf{8}, 3}",
        "Scores: \\boxed{8, 3",
        "Scores: 8, 3",
        "Scores: \\boxed{8, 3, 1}",
    ],
)
def test_a_quoted_box_never_stands_in_for_the_judges_own(end: str) -> None:
    """An answer that holds a box cannot score itself where the judge's own box is broken."""
    text = f"The second answer says \\boxed{{1, 10}}, which proves nothing. {end}"
    assert isinstance(parse_scores(text, RANGE), Unparsed)


def test_without_a_range_any_finite_number_will_do() -> None:
    """A checkpoint that names no range gets what its judge writes."""
    assert parse_scores("\\boxed{-2.5, 1e3}") == (-2.5, 1000.0)
