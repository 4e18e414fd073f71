"""What is logged of a step, and when a run is warned of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mmreward_trainer.align.grouped.figures import REASONS, Figures, Outcome, packaged_phrases
from mmreward_trainer.align.grouped.matching import is_right
from mmreward_trainer.align.grouped.reading import Completion
from mmreward_trainer.align.grouped.watch import Thresholds, Watch, crossed

PRAISE = "It is red. This  Response is\nCOMPREHENSIVE, and more."


def row(response: str, *, answer: Any = None, tokens: int = 4, key: str = "k") -> Completion:
    return Completion("q", (), response, True, tokens, answer, key)


def test_self_praise_is_found_by_phrase_whatever_case_and_spacing() -> None:
    """The list can be extended; ordinary answers hold none of it, and it is no empty list."""
    figures = Figures(["magnificent, if I may"])
    assert len(packaged_phrases()) > 40
    assert figures.praises_itself(PRAISE)
    assert figures.praises_itself("Magnificent, if I may say so.")
    assert not Figures().praises_itself("Magnificent, if I may say so.")
    for text in ("", "The digit is a 7.", "The response was late.", "A perfect circle."):
        assert not figures.praises_itself(text)
    rows = [row(PRAISE), row("It is red.")]
    outcomes = [Outcome(1.0, None)] * 2
    assert figures.of(rows, outcomes, [])["hacking/self_praise"] == 0.5


def test_lengths_are_compared_with_the_first_lines_of_the_log() -> None:
    """Of the history that a save holds; without any there is nothing to compare with."""
    rows, outcomes = [row("a", tokens=30)], [Outcome(1.0, None)]
    history = [{"step": i, "completions/mean_length": 10.0 if i < 3 else 99.0} for i in range(9)]
    assert "hacking/length_ratio" not in Figures().of(rows, outcomes, [])
    values = Figures(first_lines=3).of(rows, outcomes, [], [{"loss": 1}, *history])
    assert values["hacking/length_ratio"] == 3.0


def test_rewards_are_told_by_their_spread_within_prompts_and_by_right_and_wrong() -> None:
    """Nulls are in no mean; reasons add up to the share without a reward."""
    rows = [
        row("It is RED!", answer="red", key="a"), row("It is blue.", answer=["red"], key="a"),
        row("x", key="b"), row("y", key="b"), row("z", answer="q", key="b"),
    ]  # fmt: skip
    outcomes = [
        Outcome(8.0, None), Outcome(4.0, None), Outcome(1.0, None), Outcome(None, "item"),
        Outcome(None, "incomplete"),
    ]  # fmt: skip
    values = Figures().of(rows, outcomes, [0.5, 1.0])
    assert values["right"] == 8.0
    assert values["wrong"] == 4.0
    assert values["hacking/accuracy"] == pytest.approx(1 / 3)
    assert values["spread"] == pytest.approx(2.828427)
    assert values["p50"] == 4.0
    assert values["order_consistency"] == 0.75
    assert values["null"] == pytest.approx(sum(values[f"null_{one}"] for one in REASONS)) == 0.4
    nothing = Figures().of(rows[2:4], [Outcome(None, "call")] * 2, [])
    assert nothing["null_call"] == 1.0
    assert not {"p50", "spread", "order_consistency", "hacking/accuracy"} & nothing.keys()


def test_the_known_answer_is_matched_by_words() -> None:
    """Not inside of another word; `exact` wants nothing beside it; numbers are texts."""
    assert is_right("The square is Red.", "red", "contains")
    assert not is_right("It is coloured.", "red", "contains")
    assert is_right("There are 12.", 12, "contains")
    assert not is_right("There are 112.", 12, "contains")
    assert is_right(" Red! ", "red", "exact")
    assert not is_right("It is red", "red", "exact")
    assert is_right("crimson", ["red", "crimson"], "exact")
    assert not is_right("anything", "", "contains")


def lines(count: int, **values: Any) -> list[dict[str, Any]]:
    return [
        {"step": i + 1, "reward": 1.0}
        | {name: value(i) if callable(value) else value for name, value in values.items()}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("values", "detector"),
    [
        ({"hacking/self_praise": 0.3}, "self_praise"),
        ({"hacking/length_ratio": 2.5}, "length_ratio"),
        ({"hacking/length_ratio": 0.3}, "length_ratio"),
        ({"grouped_reward/null": 0.4}, "grouped_reward/null"),
        ({"grouped_reward/order_consistency": 0.2}, "grouped_reward/order_consistency"),
        (
            {"hacking/accuracy": lambda i: 0.9 - 0.05 * i, "reward": lambda i: float(i)},
            "accuracy_drop",
        ),
    ],
)
def test_every_detector_warns_beyond_its_threshold_only(
    values: dict[str, Any], detector: str
) -> None:
    """The same values are no warning with the detector off, nor good values with it on."""
    limits = Thresholds(first_lines=3, recent_lines=2)
    [found] = crossed(lines(10, **values), limits, step=10)
    assert found.detector == detector
    off = Thresholds(None, None, None, None, None, recent_lines=2, first_lines=3)
    assert not crossed(lines(10, **values), off, step=10)
    good = {
        "hacking/self_praise": 0.05, "hacking/length_ratio": 1.2, "grouped_reward/null": 0.1,
        "grouped_reward/order_consistency": 0.9, "hacking/accuracy": 0.9,
    }  # fmt: skip
    assert not crossed(lines(10, **good), limits, step=10)


def test_falling_accuracy_alone_is_no_sign_of_hacking() -> None:
    """Only beside a reward that rises."""
    falling = {"hacking/accuracy": lambda i: 0.9 - 0.05 * i, "reward": lambda i: 1.0 - 0.05 * i}
    assert not crossed(lines(10, **falling), Thresholds(first_lines=3, recent_lines=2), step=10)


@pytest.mark.parametrize("lost", [1, 8])
def test_a_step_without_any_reward_is_in_no_mean(lost: int) -> None:
    """TRL logs NaN for it, which nothing is smaller than: the reward would seem to have risen."""

    def reward(i: int) -> float:
        return float("nan") if i == lost else 1.0 - 0.05 * i

    limits = Thresholds(first_lines=3, recent_lines=2)
    falling = {"hacking/accuracy": lambda i: 0.9 - 0.05 * i, "reward": reward}
    assert not crossed(lines(10, **falling), limits, step=10)
    rising = falling | {"reward": lambda i: -reward(i)}
    [found] = crossed(lines(10, **rising), limits, step=10)
    assert "nan" not in found.text


def test_a_warning_is_told_once_and_anew_after_it_was_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the log and to the caller; validation lines are not looked at, nor other processes."""
    told: list[int] = []
    watch = Watch(Thresholds(recent_lines=1), lambda one: told.append(one.step))
    history: list[dict[str, Any]] = []
    state = SimpleNamespace(log_history=history, is_world_process_zero=True, global_step=0)
    for step, share in enumerate((0.0, 0.5, 0.5, 0.0, 0.5), start=1):
        state.global_step = step
        history.append({"step": step, "reward": 1.0, "hacking/self_praise": share})
        watch.on_log(None, state, None)
        history.append({"step": step, "eval_reward": 1.0})
        watch.on_log(None, state, None)
    assert told == [2, 5]
    assert [one.step for one in watch.warned] == [2, 5]
    assert "praise themselves" in caplog.text
    # A run that is resumed after step 5 has told of it; it is still crossed at step 6.
    resumed = Watch(Thresholds(recent_lines=1), lambda one: told.append(one.step))
    resumed.on_train_begin(None, state, None)
    state.global_step = 6
    history.append({"step": 6, "reward": 1.0, "hacking/self_praise": 0.5})
    resumed.on_log(None, state, None)
    assert told == [2, 5]
    # With a threshold that was not there before, it has something to tell.
    changed = Watch(Thresholds(recent_lines=1), lambda one: told.append(one.step), ["null"])
    changed.on_train_begin(None, state, None)
    changed.on_log(None, state, None)
    assert told == [2, 5, 6]
    state.is_world_process_zero = False
    other = Watch()
    other.on_log(None, state, None)
    assert not other.warned
