"""The judge's rows: qualities that are known, chains that a perfect reader would write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmreward_service.reward.judgement import parse_scores
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec
from mmreward_trainer.digits.frames_answers import ANSWERS
from mmreward_trainer.digits.images import load_digits_by_split
from mmreward_trainer.digits.pairs import KINDS, Claim, Pair, draw_pair
from mmreward_trainer.digits.run import base_spec
from mmreward_trainer.digits.wordings import PLACES, every_text
from mmreward_trainer.digits_judge.configuration import JudgeConfig
from mmreward_trainer.digits_judge.groups import Comparison, draw_comparison, draw_group
from mmreward_trainer.digits_judge.judgements import judgement_parts, write_judgement
from mmreward_trainer.digits_judge.judging import SCORE_RANGE
from mmreward_trainer.digits_judge.qualities import points
from mmreward_trainer.digits_judge.steps import training_comparisons
from mmreward_trainer.digits_judge.templates import JUDGE, PICTURE_FIRST, TEMPLATES_OF_BOTH

DIGITS = Path(__file__).parents[3] / "models" / "digits"


def comparisons(count: int) -> list[Comparison]:
    return [draw_comparison("train", "trained", 5, i, KINDS[i % len(KINDS)]) for i in range(count)]


def expected_points(pair: Pair, claim: Claim) -> int:
    """The quality rule once more, from the digits alone."""
    digits, said = pair.digits, claim.value
    if pair.kind in ("naming", "object"):
        right = digits[0] == int(said)
        return (5 if claim.adds_thing else 10) if right else (1 if claim.adds_thing else 3)
    if pair.form == "location_what":
        return 10 if digits[PLACES.index(pair.asked)] == int(said) else 1
    if pair.form == "location_where":
        place, other = digits.index(int(pair.asked)), PLACES.index(said)
        return {0: 10, 1: 5, 2: 1}[(place // 2 != other // 2) + (place % 2 != other % 2)]
    if pair.kind == "list":
        right_digits = sum(a == int(b) for a, b in zip(digits, re.findall(r"\d", said)))  # noqa: B905
        return (1, 3, 5, 7, 10)[right_digits]
    if pair.kind == "existence":
        return 10 if (said == "yes") == (int(pair.asked) in digits) else 1
    row = digits[:2] if pair.asked == "top" else digits[2:]
    true = sum(row) if pair.kind == "sum" else digits.count(int(pair.asked))
    return (10, 7, 5, 3, 1)[min(4, abs(true - int(said)))]


def test_points_are_those_of_the_rule() -> None:
    """For every kind, on graded answers and on the answers of pairs; truth alone has ten."""
    seen: dict[str, set[int]] = {}
    for one in comparisons(420):
        for claim, worth in zip((one.first, one.second), one.points, strict=True):
            assert worth == expected_points(one.pair, claim), (one.pair.form, claim)
            assert (worth == 10) == claim.is_true
            seen.setdefault(one.pair.kind, set()).add(worth)
    assert seen["count"] == seen["sum"] == seen["list"] == {1, 3, 5, 7, 10}
    assert seen["object"] == {1, 3, 5, 10}
    assert seen["location"] == {1, 5, 10}
    for index in range(140):
        pair = draw_pair("train", "trained", 0, index)
        assert points(pair, pair.chosen) == expected_points(pair, pair.chosen) == 10
        assert points(pair, pair.rejected) == expected_points(pair, pair.rejected) < 10


def test_the_parser_reads_the_points() -> None:
    """What the service parses out of a true judgement are the known qualities, in either order."""
    for one in comparisons(280):
        assert parse_scores(write_judgement(one), SCORE_RANGE) == tuple(map(float, one.points))
        swapped = write_judgement(one.swap())
        assert parse_scores(swapped, SCORE_RANGE) == tuple(map(float, one.points[::-1]))


def test_every_step_of_a_chain_is_true() -> None:
    """Each yes and no, match and differ, each sum and difference agrees with its numbers."""
    for one in comparisons(280):
        text = write_judgement(one)
        lines = text.split("\n")
        assert [line.split(":")[0] for line in lines] == ["Specific Criteria", "Analysis", "Scores"]
        assert f"I see {' '.join(map(str, one.pair.digits[:2]))}" in text
        for seen, said, answer in re.findall(r"[:,] (\w+) (\w+) (yes|no)(?=[,:])", lines[1]):
            if "Compare" in text and seen not in ("top", "bottom", "left", "right"):
                assert (seen == said) == (answer == "yes"), text
        for first, second, total in re.findall(r"(\d) plus (\d) is (\d+)", text):
            assert int(first) + int(second) == int(total)
        for a, b, off in re.findall(r"(\d+) and (\d+) differ by (\d|more)", text):
            assert abs(int(a) - int(b)) == int(off) if off != "more" else abs(int(a) - int(b)) > 3
        for a, b in re.findall(r"(\w+) and (\w+) match", text):
            assert a == b or (b == "yes") == (a != "0")


def test_parts_of_a_judgement_encode_as_the_whole() -> None:
    """Weights are set part by part, so the parts' tokens must be those of the whole text."""
    spec = base_spec("test").model_copy(update={"templates": TEMPLATES_OF_BOTH})
    encode = PromptRenderer.from_checkpoint(DIGITS, spec).encode_user_text
    for one in comparisons(70):
        parts = [token for part in judgement_parts(one) for token in encode(part.text)]
        assert parts == encode(write_judgement(one))


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_groups_have_a_known_order(size: int) -> None:
    """Qualities differ as far as the question has different ones; a group is its index's alone."""
    for index in range(60):
        group = draw_group("validation", "trained", 1, index, size)
        assert group == draw_group("validation", "trained", 1, index, size)
        assert len(group.answers) == size
        levels = len(set(group.points))
        at_least = {"object": 4, "location": 3, "count": 3, "sum": 4, "list": 5}[group.pair.kind]
        assert levels >= min(size, at_least)
    best = set()
    for index in range(60):
        worth = draw_group("validation", "trained", 1, index, size).points
        best |= {place for place, one in enumerate(worth) if one == max(worth)}
    assert len(best) == size  # a best answer stands at every place


def test_training_comparisons_are_balanced_and_trained_only() -> None:
    """Either answer is the better one as often as the other; no test picture, no held wording."""
    config = JudgeConfig()
    rows = [one for step in range(12) for one in training_comparisons(config, step)]
    assert rows[:3] == training_comparisons(config, 0)[:3]
    first = sum(one.points[0] > one.points[1] for one in rows)
    second = sum(one.points[0] < one.points[1] for one in rows)
    assert abs(first - second) < 4 * len(rows) ** 0.5
    assert 0.03 < 1 - (first + second) / len(rows) < 0.2
    assert sum(max(one.points) < 10 for one in rows) > 0.05 * len(rows)
    allowed = set(load_digits_by_split().members["train"].tolist())
    assert {cell.picture for one in rows for cell in one.pair.cells} <= allowed
    held = {text for frames in ANSWERS.values() for f in frames["held"] for text in every_text(f)}
    held -= {
        text for frames in ANSWERS.values() for f in frames["trained"] for text in every_text(f)
    }
    said = {re.sub(r"\d+", "{x}", claim.text) for one in rows for claim in (one.first, one.second)}
    assert not said & held


@pytest.mark.parametrize("template", [JUDGE, PICTURE_FIRST])
def test_prompts_hold_both_answers_in_their_order(template: str) -> None:
    """The prompt names question, first and second answer; swapping exchanges the two answers."""
    templates = TEMPLATES_OF_BOTH.model_copy(update={"judge": template})
    spec: RewardSpec = base_spec("test").model_copy(update={"templates": templates})
    renderer = PromptRenderer.from_checkpoint(DIGITS, spec)
    ids = renderer.render_judge(prompt="Q?", first="It is 3.", second="It is 4.", images=1)
    text = renderer.decode(ids)
    assert text.index("Q?") < text.index("It is 3.") < text.index("It is 4.")
    swapped = renderer.render_judge(prompt="Q?", first="It is 4.", second="It is 3.", images=1)
    assert len(ids) == len(swapped)
    assert ids != swapped
