"""Which tokens a correction changed: by hand, and as properties."""

from __future__ import annotations

from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_trainer.align.token_weights import DenseWeights, Form, changed_spans

PAPER, RELEASED = DenseWeights.of("paper"), DenseWeights.of("released")
PROMPT = [90, 91, 92, 93, 94]
END = [98, 99]
TOKENS = st.lists(st.integers(0, 12), max_size=25)
FORMS: list[Form] = ["paper", "released"]


def places(flags: list[bool]) -> list[int]:
    return [i for i, flag in enumerate(flags) if flag]


def test_the_forms_are_those_of_their_sources() -> None:
    """γ 5, divided; γ 1.1, a sum, without insertions."""
    assert (PAPER.gamma, PAPER.normalise, PAPER.insertions) == (5.0, True, True)
    assert (RELEASED.gamma, RELEASED.normalise, RELEASED.insertions) == (1.1, False, False)
    assert DenseWeights.of("released", gamma=3.0).gamma == 3.0


@pytest.mark.parametrize("weights", [PAPER, RELEASED])
def test_a_replaced_segment_counts_on_both_sides(weights: DenseWeights) -> None:
    """4 5 6 became 40 50; around it runs of three and more."""
    chosen = [1, 2, 3, 40, 50, 7, 8, 9, *END]
    rejected = [1, 2, 3, 4, 5, 6, 7, 8, 9, *END]
    found = weights.changed(PROMPT, chosen, rejected)
    assert places(found[0]) == [3, 4]
    assert places(found[1]) == [3, 4, 5]


def test_an_insertion_counts_in_the_papers_form_only() -> None:
    """The released code asks for something on both sides; of a deletion likewise."""
    long, short = [1, 2, 3, 60, 61, 4, 5, 6, *END], [1, 2, 3, 4, 5, 6, *END]
    assert [places(side) for side in PAPER.changed(PROMPT, long, short)] == [[3, 4], []]
    assert [places(side) for side in PAPER.changed(PROMPT, short, long)] == [[], [3, 4]]
    for pair in ((long, short), (short, long)):
        assert [places(side) for side in RELEASED.changed(PROMPT, *pair)] == [[], []]


@pytest.mark.parametrize("weights", [PAPER, RELEASED])
def test_a_run_of_two_is_swallowed_by_the_change(weights: DenseWeights) -> None:
    """5 6 agree, but stand between two changes: one segment. A run of three is kept."""
    chosen, rejected = [1, 2, 3, 40, 5, 6, 70, *END, 8], [1, 2, 3, 4, 5, 6, 7, *END, 8]
    assert places(weights.changed(PROMPT, chosen, rejected)[0]) == [3, 4, 5, 6]
    chosen, rejected = [40, 5, 6, 7, 80, *END, 9], [4, 5, 6, 7, 8, *END, 9]
    assert places(weights.changed(PROMPT, chosen, rejected)[0]) == [0, 4]


@pytest.mark.parametrize("weights", [PAPER, RELEASED])
def test_an_equal_beginning_belongs_to_the_prompts_run(weights: DenseWeights) -> None:
    """One token suffices there, because the prompt before it agrees; at the end it does not."""
    found = weights.changed(PROMPT, [1, 40, 99], [1, 4, 99])
    assert places(found[0]) == [1, 2]


@given(TOKENS, TOKENS, st.sampled_from(FORMS))
def test_nothing_changed_outside_of_what_differs(
    chosen: list[int], rejected: list[int], form: Form
) -> None:
    """Without the changed tokens both answers read the same, where insertions count."""
    found = DenseWeights.of(form).changed(PROMPT, chosen, rejected)
    assert (len(found[0]), len(found[1])) == (len(chosen), len(rejected))
    if form == "paper":
        kept = [
            [token for token, flag in zip(side, flags, strict=True) if not flag]
            for side, flags in zip((chosen, rejected), found, strict=True)
        ]
        assert kept[0] == kept[1]
    else:
        # A segment of the released form has something on both sides.
        assert any(found[0]) == any(found[1])


@given(TOKENS, st.sampled_from(FORMS))
def test_equal_answers_have_no_change(answer: list[int], form: Form) -> None:
    """Nor has an answer against itself in a prompt of any kind."""
    assert DenseWeights.of(form).changed(PROMPT, answer, list(answer)) == (
        [False] * len(answer), [False] * len(answer)
    )  # fmt: skip


@given(TOKENS, TOKENS)
def test_the_papers_form_treats_both_answers_alike(left: list[int], right: list[int]) -> None:
    """Which of them is preferred changes nothing."""
    one, other = PAPER.changed(PROMPT, left, right)
    assert PAPER.changed(PROMPT, right, left) == (other, one)


@given(TOKENS, TOKENS, st.integers(0, 400))
def test_the_released_form_is_what_difflib_says_of_whole_sequences(
    chosen: list[int], rejected: list[int], pictures: int
) -> None:
    """Read off difflib's opcodes, a second way, with a long run of placeholders in the prompt."""
    prompt = [90] + [77] * pictures + PROMPT
    before, after = (prompt[1:] + answer for answer in (rejected, chosen))
    matcher = SequenceMatcher(None, before, after)
    blocks = [one for one in matcher.get_matching_blocks() if one.size >= 3]
    expected = [[False] * len(chosen), [False] * len(rejected)]
    ends = [(one.a, one.b) for one in blocks] + [(len(before), len(after))]
    starts = [(0, 0)] + [(one.a + one.size, one.b + one.size) for one in blocks]
    offset = len(prompt) - 1
    for (a, b), (a_end, b_end) in zip(starts, ends, strict=True):
        if a_end > a and b_end > b:
            for flags, first, end in ((expected[0], b, b_end), (expected[1], a, a_end)):
                for i in range(max(first, offset), end):
                    flags[i - offset] = True
    assert list(RELEASED.changed(prompt, chosen, rejected)) == expected


def test_frequent_tokens_of_a_long_answer_are_compared_like_any_other() -> None:
    """difflib leaves frequent elements of 200 and more out; the paper's form does not let it."""
    run = [5, 6, 7] * 80
    chosen, rejected = [*run, 40, *run], [*run, 4, *run]
    assert places(PAPER.changed(PROMPT, chosen, rejected)[0]) == [240]
    assert changed_spans(rejected, chosen, 3) == [((240, 241), (240, 241))]
