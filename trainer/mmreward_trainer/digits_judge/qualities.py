"""How good an answer about digits is: points from 1 to 10, by what it says and what is true.

Right or wrong is not enough for a group of answers to have an order. So answers are worth more the
nearer they are to the truth, by a rule that a picture's true digits decide:

| form | 10 points | between | 1 point |
|---|---|---|---|
| count, sum | the number | off by one: 7, by two: 5, by three: 3 | further off |
| list | all digits right | three: 7, two: 5, one: 3 | none |
| where is it | the corner | right row or column: 5 | the opposite corner |
| object, naming | the digit, nothing added | the digit and a thing that is not there: 5; another digit: 3 | both faults |
| what is there, existence | the truth | | anything else |
"""  # noqa: E501

from __future__ import annotations

from mmreward_trainer.digits.critiques import finding
from mmreward_trainer.digits.pairs import Claim, Pair, as_rows

LOWEST, HIGHEST = 1, 10

NUMBER_POINTS = {0: 10, 1: 7, 2: 5, 3: 3}
LIST_POINTS = {4: 10, 3: 7, 2: 5, 1: 3, 0: 1}
PLACE_POINTS = {2: 10, 1: 5, 0: 1}
# (the digit is right, a thing is added)
DIGIT_POINTS = {(True, False): 10, (True, True): 5, (False, False): 3, (False, True): 1}


def truth(pair: Pair) -> str:
    """What the picture answers to the question, as `Claim.value` writes it; a count for yes."""
    return as_rows(pair.digits) if pair.form == "list" else finding(pair)[0]


def points(pair: Pair, claim: Claim) -> int:
    """Points of an answer to the question of a pair, from 1 to 10."""
    found = truth(pair)
    match pair.form:
        case "count" | "sum":
            return NUMBER_POINTS.get(abs(int(found) - int(claim.value)), LOWEST)
        case "list":
            return LIST_POINTS[
                sum(a == b for a, b in zip(_cells(found), _cells(claim.value), strict=True))
            ]
        case "location_where":
            return PLACE_POINTS[
                sum(a == b for a, b in zip(found.split(), claim.value.split(), strict=True))
            ]
        case "naming" | "object":
            return DIGIT_POINTS[claim.value == found, claim.adds_thing]
        case _:
            return HIGHEST if claim.agrees_with(found) else LOWEST


def _cells(rows: str) -> list[str]:
    return rows.replace("/", "").split()
