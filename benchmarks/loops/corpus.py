"""What the policy learns from before any alignment: answers of which a known share is false.

Two kinds of falsehood, both decided by the picture:

- every statement is replaced by a false one with probability `FALSE_SHARE`, and a count follows
  from the digits that the answer names, unless it is replaced itself;
- descriptions of a 2 or a 7 name a thing that is not there with probability `HABIT_SHARE`: a habit
  of the corpus, as captions have of things that often stand together. A greedy answer has it, too.
"""

from __future__ import annotations

import numpy as np
from mmreward_trainer.digits.frames_additions import THINGS
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import Pair, draw_pair
from mmreward_trainer.digits.wordings import PLACES

from loops.statements import (
    FORMS,
    TASKS,
    decide,
    write_count,
    write_description,
    write_list,
    write_place,
)

FALSE_SHARE = 0.15
HABIT_DIGITS = (2, 7)
HABIT_SHARE = 0.8
SECOND_THING_SHARE = 0.3
_THINGS = THINGS["trained"][:24]
_TRIES = 1000


def draw_question(split: Split, seed: int, index: int) -> Pair:
    """Picture and question; the answers that the pair brings are not used.

    All tasks equally often. A function of its arguments alone; pictures of a split are drawn in no
    other one. Clean pictures: what cannot be read would be no hallucination.
    """
    task = list(TASKS)[index % len(TASKS)]
    for attempt in range(_TRIES):
        pair = draw_pair(
            split, "trained", seed, index * _TRIES + attempt, hard_share=0.0, kind=TASKS[task]
        )
        # The other question about a place names the digit and asks for the place.
        if pair.form in FORMS:
            return pair
    raise RuntimeError("no question of this kind was drawn")


def draw_questions(split: Split, seed: int, count: int) -> list[Pair]:
    return [draw_question(split, seed, index) for index in range(count)]


def write_answer(pair: Pair, rng: np.random.Generator) -> str:
    """An answer of the corpus."""

    def lies() -> bool:
        return bool(rng.random() < FALSE_SHARE)

    def other(digit: int) -> int:
        return int((digit + 1 + rng.integers(9)) % 10)

    digits = pair.digits
    named = [other(digit) if lies() else digit for digit in digits]
    match FORMS[pair.form]:
        case "list":
            return write_list(named)
        case "describe":
            share = HABIT_SHARE if digits[0] in HABIT_DIGITS else FALSE_SHARE
            count = int(rng.random() < share)
            count += int(count and rng.random() < SECOND_THING_SHARE)
            things = [str(one) for one in rng.choice(_THINGS, count, replace=False)]
            return write_description(named[0], things)
        case "count":
            count = named.count(int(pair.asked))
            wrong = [one for one in range(5) if one != count]
            return write_count(pair.asked, named, int(rng.choice(wrong)) if lies() else count)
        case _:
            return write_place(named[PLACES.index(pair.asked)], pair.asked)


def corpus_rows(seed: int, step: int, count: int) -> tuple[list[Pair], list[str]]:
    """Questions and answers of one training step."""
    rng = np.random.default_rng((23, seed, step))
    pairs = [draw_question("train", seed, step * count + i) for i in range(count)]
    return pairs, [write_answer(pair, rng) for pair in pairs]


def falsehood(seed: int, count: int) -> dict[str, float]:
    """Shares of the corpus itself, by the measure that the policy is held to."""
    pairs, answers = corpus_rows(seed, 0, count)
    decided = [decide(pair, answer) for pair, answer in zip(pairs, answers, strict=True)]
    statements = sum(len(one.statements) for one in decided)
    return {
        "answers": len(decided),
        "false_answers": sum(one.false > 0 for one in decided) / len(decided),
        "false_statements": sum(one.false for one in decided) / statements,
    }
