"""What is computed of judgements: pairs in both orders, groups, gains; rows for training."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.data import read_pairs
from mmreward_service.judging.schedule import Game, schedule
from mmreward_service.reward.judgement import parse_scores
from mmreward_trainer.digits_judge.evaluate import gain, wilson
from mmreward_trainer.digits_judge.group_scores import JudgedGroup, spearman
from mmreward_trainer.digits_judge.groups import Comparison, draw_group
from mmreward_trainer.digits_judge.judgements import write_judgement
from mmreward_trainer.digits_judge.judging import SCORE_RANGE, Judgement, read_judgement
from mmreward_trainer.digits_judge.metrics import JudgedPair, judge_summary
from mmreward_trainer.digits_judge.rows import preference_comparisons, write_rows

COMPARISONS = preference_comparisons("validation", "trained", 0, 6)


def judged(forward: str, backward: str, one: Comparison = COMPARISONS[0]) -> JudgedPair:
    """A pair whose better answer comes first in `forward`."""
    return JudgedPair(
        one.pair,
        read_judgement(one, forward, 1, finished=True),
        read_judgement(one.swap(), backward, 1, finished=True),
    )


@pytest.mark.parametrize(
    ("text", "finished", "status"),
    [
        (r"Scores: \boxed{7, 3}", True, "ok"),
        (r"Scores: \boxed{7, 3}", False, "truncated"),
        (r"Scores: \boxed{7, 11}", True, "unparsed"),
        (r"Scores: \boxed{7}", True, "unparsed"),
        ("", True, "unparsed"),
    ],
)
def test_only_a_finished_text_with_two_scores_has_scores(
    text: str, finished: bool, status: str
) -> None:
    """A text that was cut off has no scores, whatever stands in it."""
    one = read_judgement(COMPARISONS[0], text, 1, finished=finished)
    assert one.status == status
    assert (one.scores is None) == (status != "ok")


def test_both_orders_count_with_their_mean() -> None:
    """An order that is wrong is outweighed by a clearer right one; ties and failures are wrong."""
    right = judged(r"\boxed{9, 2}", r"\boxed{4, 3}")
    tie = judged(r"\boxed{9, 2}", r"\boxed{9, 2}")
    failed = judged(r"\boxed{9, 2}", "nothing")
    wrong = judged(r"\boxed{2, 9}", r"\boxed{9, 2}")
    assert right.deltas == (7.0, -1.0)
    assert right.delta == 3.0
    assert failed.delta is None
    found = judge_summary([right, tie, failed, wrong])
    assert found["both_orders"] == 0.25
    assert found["one_order"] == 0.375  # three of eight
    assert found["order_consistency"] == pytest.approx(1 / 3, abs=1e-4)  # of three pairs
    assert found["parsed"] == 0.875
    assert found["better_first"] == 0.75
    assert found["better_second"] == 0.0


def test_a_perfect_judge_is_right_everywhere() -> None:
    """The judgements of a perfect reader, read as the model's are."""
    results = [
        judged(write_judgement(one), write_judgement(one.swap()), one) for one in COMPARISONS
    ]
    found = judge_summary(results)
    for name in ("both_orders", "one_order", "order_consistency", "points_exact", "text_exact"):
        assert found[name] == 1.0, name
    assert found["first_wins"] == 0.5


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_true_scores_order_a_group(size: int) -> None:
    """With true scores every schedule finds the known order, and mean and additive agree."""
    group = draw_group("validation", "trained", 0, 3, size)
    worth = group.points
    played = {
        Game(i, j): (float(worth[i]), float(worth[j]))
        for i, j in itertools.permutations(range(size), 2)
    }
    one = JudgedGroup(group, played, [None] * size)
    for orders in ("both", "balanced"):
        for comparisons in ("all", 1):
            scores = one.scores(orders, comparisons)  # type: ignore[arg-type]
            assert scores == pytest.approx([float(w) for w in worth])
            assert one.spearman(scores) == pytest.approx(1.0)
        assert one.scores(orders, aggregate="additive") == pytest.approx(one.scores(orders))  # type: ignore[arg-type]


def test_missing_games_are_left_out_and_repeatable() -> None:
    """The same seed loses the same games; all lost leaves nobody a score."""
    group = draw_group("validation", "trained", 0, 3, 5)
    played = {
        Game(i, j): (1.0 + i, 1.0 + j + (i > j)) for i, j in itertools.permutations(range(5), 2)
    }
    one = JudgedGroup(group, played, [None] * 5)
    assert one.scores("both", missing=1.0) == [None] * 5
    assert one.scores("both", missing=0.3, seed=4) == one.scores("both", missing=0.3, seed=4)
    drawn = [one.scores("both", missing=0.3, seed=seed) for seed in range(6)]
    assert any(one.scores("both") != scores for scores in drawn)
    assert len(schedule(5, "all", "both")) == len(played)


@given(st.lists(st.integers(1, 10), min_size=2, max_size=7, unique=True))
def test_spearman_sees_order_alone(truth: list[int]) -> None:
    """One for rising scores, minus one for the reverse, no number where nothing is known."""
    rising = [float(value**3) for value in truth]
    assert spearman(truth, rising) == pytest.approx(1.0)
    assert spearman(truth, [-value for value in rising]) == pytest.approx(-1.0)
    assert spearman(truth, [4.0] * len(truth)) == 0.0
    assert spearman(truth, [None] * len(truth)) is None
    assert spearman([5] * len(truth), rising) is None
    assert spearman(truth, [rising[0], *[None] * (len(truth) - 1)]) is None


def test_gain_counts_the_same_pairs() -> None:
    """Only pairs whose outcome changed move it; other numbers of pairs are refused."""
    before = ["100"] * 40 + ["000"] * 60
    after = ["111"] * 50 + ["011"] * 50
    found = gain(before, after)
    assert (found["gain"], found["became_right"], found["became_wrong"]) == (0.1, 10, 0)
    assert found["ci95"][0] > 0
    assert gain(after, after)["ci95"] == [0.0, 0.0]
    with pytest.raises(ValueError, match="not the same"):
        gain(before, after[1:])


def test_wilson_interval() -> None:
    """Known values (Wilson 1927), inside [0, 1] at the ends."""
    assert wilson(8, 10) == [0.4902, 0.9433]
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_rows_are_what_the_judge_trainer_reads(tmp_path: Path) -> None:
    """The readers take them: the better answer is chosen, and both judgements prefer it."""
    path = write_rows(COMPARISONS, tmp_path, "rows")
    pairs = list(read_pairs(path))
    assert len(pairs) == len(COMPARISONS)
    for pair, one in zip(pairs, COMPARISONS, strict=True):
        assert (pair.prompt, pair.chosen, pair.rejected) == (
            one.pair.prompt,
            one.first.text,
            one.second.text,
        )
        first, second = parse_scores(pair.extra["judgement"], SCORE_RANGE)  # type: ignore[misc]
        assert first > second
        first, second = parse_scores(pair.extra["judgement_swapped"], SCORE_RANGE)  # type: ignore[misc]
        assert first < second
    with pytest.raises(ValueError, match="comparison 0"):
        write_rows([COMPARISONS[0].swap()], tmp_path, "wrong")


def test_judgement_keeps_its_text() -> None:
    """What the model wrote stays readable beside the scores."""
    one: Judgement = read_judgement(COMPARISONS[0], r"x \boxed{2, 1}", 5, finished=True)
    assert (one.text, one.tokens, one.scores) == (r"x \boxed{2, 1}", 5, (2.0, 1.0))
