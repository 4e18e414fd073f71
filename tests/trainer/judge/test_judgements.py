"""Judgements of rows: given, composed, refused."""

from __future__ import annotations

from typing import Any

import pytest
from mmreward_service.reward.judge_templates import SCORE_RANGE
from mmreward_service.reward.judgement import parse_scores
from mmreward_trainer.critique.rows import RowError
from mmreward_trainer.judge.configuration import Composed
from mmreward_trainer.judge.judgements import has_judgement, judgement_of

BARE: dict[str, Any] = {
    "where": "a.jsonl:3",
    "is_tie": False,
    "chosen_reason": None,
    "rejected_reason": None,
    "judgement": None,
    "judgement_swapped": None,
}


def of(row: dict[str, Any], *, chosen_first: bool) -> str | None:
    return judgement_of(row, Composed(), SCORE_RANGE, chosen_first=chosen_first)


def test_reasons_become_three_lines_in_either_order() -> None:
    """The service's parser reads the two scores back, the preferred answer's higher."""
    row = BARE | {"chosen_reason": "Fits.", "rejected_reason": "Does not fit."}
    first, second = of(row, chosen_first=True), of(row, chosen_first=False)
    assert first is not None
    assert second is not None
    assert [line.split(":")[0] for line in first.splitlines()] == [
        "Specific Criteria", "Analysis", "Scores",
    ]  # fmt: skip
    assert "First answer: Fits. Second answer: Does not fit." in first
    assert "First answer: Does not fit. Second answer: Fits." in second
    assert parse_scores(first, SCORE_RANGE) == (8.0, 3.0)
    assert parse_scores(second, SCORE_RANGE) == (3.0, 8.0)


def test_a_given_judgement_goes_before_reasons_and_holds_for_its_order() -> None:
    """Without one for the other order, and without reasons, that order is not learned."""
    row = BARE | {"judgement": "A. \\boxed{9, 2}"}
    assert of(row, chosen_first=True) == "A. \\boxed{9, 2}"
    assert of(row, chosen_first=False) is None
    assert has_judgement(row)
    assert not has_judgement(BARE)
    with_reasons = row | {"chosen_reason": "a", "rejected_reason": "b"}
    assert of(with_reasons, chosen_first=True) == "A. \\boxed{9, 2}"
    assert "Analysis" in str(of(with_reasons, chosen_first=False))


@pytest.mark.parametrize(
    ("change", "chosen_first", "message"),
    [
        ({"judgement": "\\boxed{2, 9}"}, True, "do not prefer the first answer"),
        ({"judgement": "\\boxed{5, 5}"}, True, "do not prefer the first answer"),
        ({"judgement_swapped": "\\boxed{9, 2}"}, False, "do not prefer the second answer"),
        ({"judgement": "no scores"}, True, "holds no"),
        ({"judgement": "\\boxed{11, 2}"}, True, "outside of"),
        ({"judgement": "\\boxed{8, 2}", "is_tie": True}, True, "prefers one of a tie"),
    ],
)
def test_a_judgement_that_contradicts_its_row_is_refused(
    change: dict[str, Any], chosen_first: bool, message: str
) -> None:
    """It would teach the opposite; the message names file and line."""
    with pytest.raises(RowError, match=r"a\.jsonl:3: judgement") as caught:
        of(BARE | change, chosen_first=chosen_first)
    assert message in str(caught.value)


def test_a_tie_is_learned_only_with_equal_scores() -> None:
    """Its reasons name no better answer, so none is composed."""
    tie = BARE | {"is_tie": True, "chosen_reason": "a", "rejected_reason": "b"}
    assert of(tie, chosen_first=True) is None
    assert not has_judgement(tie)
    given = tie | {"judgement": "Equal. \\boxed{6, 6}"}
    assert of(given, chosen_first=True) == "Equal. \\boxed{6, 6}"
