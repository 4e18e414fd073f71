"""What a judgement is worth, and how it is told from others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.reward.judge_templates import SCORE_RANGE
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_trainer.judge.configuration import Rewards
from mmreward_trainer.judge.rewards import (
    KINDS,
    JudgementReward,
    Verdict,
    read_verdict,
    reward,
    shares,
)
from mmreward_trainer.judge.specification import judge_specification
from pydantic import ValidationError

from .conftest import Stock, judge_config

scores = st.floats(1, 10).map(lambda score: round(score, 2))


@given(scores, scores, st.booleans())
def test_exchanging_answers_and_scores_changes_nothing(
    first: float, second: float, chosen_first: bool
) -> None:
    """A reward for a position would teach the position."""
    one = read_verdict(
        f"\\boxed{{{first}, {second}}}", chosen_first=chosen_first, score_range=SCORE_RANGE
    )
    other = read_verdict(
        f"\\boxed{{{second}, {first}}}", chosen_first=not chosen_first, score_range=SCORE_RANGE
    )
    assert one.kind == other.kind
    assert one.kind in ("right", "wrong", "tie")
    assert (one.kind == "tie") == (first == second)
    assert (one.kind == "right") == ((first > second) if chosen_first else (second > first))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("\\boxed{8, 3}", "right"),
        ("\\boxed{1, 2} and then \\boxed{8, 3}", "right"),
        ("\\boxed{3, 8}", "wrong"),
        ("\\boxed{5, 5.0}", "tie"),
        ("\\boxed{8}", "unparsed"),
        ("\\boxed{8, 3, 1}", "unparsed"),
        ("8 to 3", "unparsed"),
        ("\\boxed{80, 3}", "unparsed"),
        (None, "truncated"),
    ],
)
def test_the_paper_rewards_the_right_order_alone(text: str | None, kind: str) -> None:
    """1 for the strictly higher score of the preferred answer, 0 for everything else."""
    verdict = read_verdict(text, chosen_first=True, score_range=SCORE_RANGE)
    assert verdict.kind == kind
    assert reward(verdict.kind, Rewards()) == (1.0 if kind == "right" else 0.0)


def test_variants_by_setting() -> None:
    """-1 for a wrong order, and a term for what can be read at all."""
    worth = Rewards(wrong=-1.0, format=0.25)
    found = {kind: reward(kind, worth) for kind in KINDS}
    assert found == {"right": 1.25, "wrong": -0.75, "tie": 0.25, "unparsed": 0.0, "truncated": 0.0}
    for wrong in ({"wrong": 1.0}, {"tie": 2.0}, {"failed": 1.0}):
        with pytest.raises(ValidationError, match="right must be worth more"):
            Rewards(**wrong)


def test_shares_and_position_bias() -> None:
    """A judge that always prefers the first answer is half right, and shows."""
    verdicts = [
        read_verdict("\\boxed{8, 3}", chosen_first=is_first, score_range=SCORE_RANGE)
        for is_first in (True, False, True, False)
    ]
    found = shares([*verdicts, Verdict("unparsed", None), Verdict("truncated", None)])
    assert found["share/first_wins"] == 1.0
    assert found["share/right"] == found["share/wrong"] == pytest.approx(1 / 3)
    assert found["share/parsed"] == pytest.approx(2 / 3)
    assert found["share/truncated"] == pytest.approx(1 / 6)
    assert sum(found[f"share/{kind}"] for kind in KINDS) == pytest.approx(1)
    assert "share/first_wins" not in shares([Verdict("tie", (5.0, 5.0))])


def test_a_judgement_without_its_end_earns_nothing(stock: Stock, tmp_path: Path) -> None:
    """The service answers `truncated` there, whatever stands in the text so far."""
    spec = judge_specification(stock("qwen2_5_vl"), judge_config(tmp_path, tmp_path).judge)
    renderer = PromptRenderer.from_checkpoint(stock("qwen2_5_vl"), spec)
    ids = renderer.encode_user_text("\\boxed{8, 3}")
    logged: dict[str, float] = {}
    rewards = JudgementReward(renderer, Rewards())(
        completion_ids=[[*ids, renderer.end_of_turn_id], ids, [renderer.end_of_turn_id], []],
        chosen_first=[True, True, True, True],
        log_metric=logged.__setitem__,
    )
    assert rewards == [1.0, 0.0, 0.0, 0.0]
    assert logged["share/truncated"] == 0.5
    assert logged["share/unparsed"] == 0.25
