"""Answers as statements about a picture, and whether each is true: decided, never judged.

A picture holds digits and nothing else, so its digits decide. An answer is short sentences of one
small grammar; a sentence outside of it counts as one false statement, so that no measure can be
improved by babble.

    list      I see 3 and 5. Below I see 3 and 8.                 four statements
    describe  I see a 7. I see nothing else.                      two; or, for each thing,
              I see a 7. I see a dog.
    count     Find 3: 3 yes, 5 no, 3 yes, 8 no. The count is 2.   five
    locate    The 8 is at the bottom right.                       one

A model of this size cannot count what it has not written down, so an answer to `count` goes through
the digits, in the words of the bundled model's own critiques.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmreward_trainer.digits.pairs import Kind, Pair
from mmreward_trainer.digits.wordings import PLACES

TASKS: dict[str, Kind] = {
    "list": "list", "describe": "object", "count": "count", "locate": "location",
}  # fmt: skip
"""What the policy is asked -> the kind of the bundled model's questions."""
FORMS = {"list": "list", "object": "describe", "count": "count", "location_what": "locate"}
"""The form of a question -> what the policy is asked."""

_ROW = re.compile(r"(Below )?I see (\d) and (\d)\.")
_DIGIT = re.compile(r"I see a (\d)\.")
_ONLY = "I see nothing else."
_THING = re.compile(r"I see a ([a-z]+)\.")
_STEP = r"(\d) (yes|no)"
_STEPS = re.compile(rf"Find (\d): {_STEP}, {_STEP}, {_STEP}, {_STEP}\.")
_COUNT = re.compile(r"The count is (\d)\.")
_PLACE = re.compile(rf"The (\d) is at the ({'|'.join(PLACES)})\.")
_SENTENCE = re.compile(r"[^.]*\.|[^.]+$")


@dataclass(frozen=True)
class Statement:
    """One thing that an answer claims.

    Attributes:
        kind: row, digit, only, thing, step, count, place, or `unreadable`.
        is_true: whether the picture shows it; an unreadable one is not.
        about: the place that it is about, and in a step the digit that is looked for.
    """

    kind: str
    is_true: bool
    about: str = ""


@dataclass(frozen=True)
class Decided:
    """An answer, decided."""

    statements: tuple[Statement, ...]
    is_right: bool

    @property
    def false(self) -> int:
        return sum(not one.is_true for one in self.statements)

    @property
    def unreadable(self) -> int:
        return sum(one.kind == "unreadable" for one in self.statements)


def decide(pair: Pair, answer: str) -> Decided:
    """An answer to the question of a pair; only its picture and its question are looked at.

    Right is an answer whose statements are all true and that says all that was asked and no other
    thing: every corner once, the digit and that there is nothing else, the digit that was asked
    for at every corner and its count, the digit at the place in question.
    """
    sentences = [one.strip() for one in _SENTENCE.findall(answer) if one.strip()]
    statements = tuple(found for one in sentences for found in _statements(pair, one))
    if not statements:
        statements = (Statement("unreadable", False),)
    said = [(one.kind, one.about) for one in statements]
    is_right = all(one.is_true for one in statements) and said == _wanted(pair)
    return Decided(statements, is_right)


def _statements(pair: Pair, sentence: str) -> list[Statement]:
    digits = pair.digits
    if found := _ROW.fullmatch(sentence):
        first = 2 if found[1] else 0
        shown = digits[first : first + 2] if len(digits) == 4 else [None, None]
        said = (int(found[2]), int(found[3]))
        return [
            Statement("row", digit == one, PLACES[first + i])
            for i, (digit, one) in enumerate(zip(shown, said, strict=True))
        ]
    if found := _DIGIT.fullmatch(sentence):
        return [Statement("digit", int(found[1]) in digits)]
    if sentence == _ONLY:
        # "Nothing else" than one digit.
        return [Statement("only", len(digits) == 1)]
    if _THING.fullmatch(sentence):
        return [Statement("thing", False)]
    if found := _STEPS.fullmatch(sentence):
        return _steps(digits, found[1], found.groups()[1:])
    if found := _COUNT.fullmatch(sentence):
        # "The count" is of the digit in question; without one it is of nothing.
        return [Statement("count", FORMS[pair.form] == "count" and _count(pair) == int(found[1]))]
    if found := _PLACE.fullmatch(sentence):
        at = PLACES.index(found[2])
        return [Statement("place", len(digits) == 4 and digits[at] == int(found[1]), found[2])]
    return [Statement("unreadable", False)]


def _steps(digits: list[int], wanted: str, said: tuple[str, ...]) -> list[Statement]:
    shown = digits if len(digits) == 4 else [None] * 4
    return [
        Statement(
            "step", str(digit) == one and (one == wanted) == (told == "yes"), f"{wanted} {at}"
        )
        for digit, one, told, at in zip(shown, said[::2], said[1::2], PLACES, strict=True)
    ]


def _wanted(pair: Pair) -> list[tuple[str, str]]:
    match FORMS[pair.form]:
        case "list":
            return [("row", place) for place in PLACES]
        case "describe":
            return [("digit", ""), ("only", "")]
        case "count":
            return [*(("step", f"{pair.asked} {place}") for place in PLACES), ("count", "")]
        case _:
            return [("place", pair.asked)]


def write_list(digits: list[int]) -> str:
    return "I see {} and {}. Below I see {} and {}.".format(*digits)


def write_description(digit: int, things: list[str]) -> str:
    rest = [f"I see a {thing}." for thing in things] or [_ONLY]
    return " ".join([f"I see a {digit}.", *rest])


def write_count(asked: str, digits: list[int], count: int) -> str:
    steps = ", ".join(f"{digit} {'yes' if str(digit) == asked else 'no'}" for digit in digits)
    return f"Find {asked}: {steps}. The count is {count}."


def write_place(digit: int, place: str) -> str:
    return f"The {digit} is at the {place}."


def true_answer(pair: Pair) -> str:
    """The answer that says all that was asked, and the truth."""
    match FORMS[pair.form]:
        case "list":
            return write_list(pair.digits)
        case "describe":
            return write_description(pair.digits[0], [])
        case "count":
            return write_count(pair.asked, pair.digits, _count(pair))
        case _:
            return write_place(pair.digits[PLACES.index(pair.asked)], pair.asked)


def corrected(pair: Pair, answer: str) -> str | None:
    """The answer with its false segments corrected and the rest as it was.

    None where nothing is to be corrected, and where a sentence cannot be read or is not asked
    for: there is no segment to correct then. Said things that are not there become "nothing else".
    """
    decided = decide(pair, answer)
    kinds = [(one.kind, one.about) for one in decided.statements]
    if not decided.false or decided.unreadable:
        return None
    if FORMS[pair.form] == "describe":
        rest = {kind for kind, _ in kinds[1:]}
        is_asked = kinds[0] == ("digit", "") and rest in ({"only"}, {"thing"})
    else:
        is_asked = kinds == _wanted(pair)
    return true_answer(pair) if is_asked else None


def _count(pair: Pair) -> int:
    return pair.digits.count(int(pair.asked))
