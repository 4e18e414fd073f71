"""Figures of held-out pairs judged in both orders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.reward.judge_templates import SCORE_RANGE
from mmreward_trainer.judge.rewards import Verdict, read_verdict
from mmreward_trainer.judge.validation import JudgedPair, figures

texts = st.one_of(
    st.none(),
    st.just("nothing"),
    st.tuples(st.integers(1, 10), st.integers(1, 10)).map(lambda s: f"\\boxed{{{s[0]}, {s[1]}}}"),
)


def pair(forward: str | None, backward: str | None) -> JudgedPair:
    """A pair from the texts with the preferred answer first, and second."""
    verdicts = tuple(
        read_verdict(text, chosen_first=first, score_range=SCORE_RANGE)
        for text, first in ((forward, True), (backward, False))
    )
    return JudgedPair("a:1", None, (verdicts[0], verdicts[1]), (forward, backward))


def test_each_figure_on_a_set_that_tells_them_apart() -> None:
    """Right twice; right on the whole; undecided; cut off in one order."""
    found = figures(
        [
            pair("\\boxed{8, 3}", "\\boxed{3, 8}"),
            pair("\\boxed{9, 1}", "\\boxed{5, 4}"),
            pair("\\boxed{7, 5}", "\\boxed{7, 5}"),
            pair("\\boxed{7, 5}", None),
        ]
    )
    assert (found["pairs"], found["judged"], found["unfinished"]) == (4, 3, 1)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["right_of_all"] == pytest.approx(2 / 4)
    assert found["accuracy_both"] == pytest.approx(1 / 3)
    assert found["accuracy_one_order"] == pytest.approx(5 / 7)
    assert found["order_consistency"] == pytest.approx(1 / 3)
    assert found["share/first_wins"] == pytest.approx(6 / 7)
    assert found["delta"] == pytest.approx((5 + 3.5 + 0) / 3)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=12))
def test_figures_are_shares_and_a_failure_is_no_number(
    written: list[tuple[str | None, str | None]],
) -> None:
    """Without a judged pair there is no accuracy; both orders right is never the easier thing."""
    found = figures([pair(*both) for both in written])
    assert found["judged"] + found["unfinished"] == found["pairs"] == len(written)
    if found["judged"]:
        assert found["accuracy_both"] <= found["accuracy"]
        assert found["accuracy_both"] <= found["order_consistency"]
        assert found["right_of_all"] <= found["accuracy"]
    else:
        assert "accuracy" not in found
        assert found["right_of_all"] == 0
    assert figures([])["pairs"] == 0
    assert Verdict("tie", (5.0, 5.0)).winner is None
