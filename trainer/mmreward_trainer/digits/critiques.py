"""The critique of an answer: an observation first, then one small comparison at a time.

A model of this size cannot look up and compare in one step. "3 yes, 5 no, 3 yes, 8 no. The count
is 2." takes one comparison per step and is learned; "Is 3: yes no yes no" is not.
"""

from __future__ import annotations

from mmreward_trainer.digits.pairs import Claim, Pair, as_rows
from mmreward_trainer.digits.wordings import PLACES

RIGHT = "This is right."
WRONG = "This is wrong."


def write_critique(pair: Pair, claim: Claim) -> str:
    """The critique a perfect reader of the picture would write about this answer."""
    return "".join(critique_parts(pair, claim))


def critique_parts(pair: Pair, claim: Claim) -> tuple[str, str, str, str]:
    """What is seen; what is worked out from it; what the answer claims; how the two compare.

    Of a list nothing is worked out: the answer's list is work, too, as copying it is.
    """
    if pair.form == "list":
        listed = f" The answer lists {claim.value}."
        return observation(pair), listed, "", f" {_compare_lists(pair, claim)} {_verdict(claim)}"
    found, work = finding(pair)
    agree = "match" if claim.agrees_with(found) else "differ"
    compared = f" {found} and {claim.value} {agree}."
    # Naming, too, asks whether a thing was made up, so that one chain serves any question about
    # a single digit; existence counts for the same reason.
    if pair.form in ("naming", "object"):
        compared += " It adds a thing." if claim.adds_thing else " It adds nothing."
    claimed = f" The answer says {claim.value}."
    return observation(pair), work, claimed, f"{compared} {_verdict(claim)}"


def _verdict(claim: Claim) -> str:
    return RIGHT if claim.is_true else WRONG


def observation(pair: Pair) -> str:
    clear = "Part of it is unclear." if pair.is_hard else "It is clear."
    return f"I see {as_rows(pair.digits)}. {clear}"


def finding(pair: Pair) -> tuple[str, str]:
    """(what the question asks for, the step that finds it); not of a list."""
    digits = pair.digits
    if pair.form in ("naming", "object"):
        return str(digits[0]), ""
    if pair.form == "location_what":
        found = str(digits[PLACES.index(pair.asked)])
        seen = ", ".join(
            f"{place} {digit} {_yes(place == pair.asked)}"
            for place, digit in zip(PLACES, digits, strict=True)
        )
        return found, f" Look {pair.asked}: {seen}. It is {found}."
    if pair.form == "location_where":
        wanted = int(pair.asked)
        place = PLACES[digits.index(wanted)]
        seen = ", ".join(
            f"{place} {digit} {_yes(digit == wanted)}"
            for place, digit in zip(PLACES, digits, strict=True)
        )
        return place, f" Find {wanted}: {seen}. It is {place}."
    if pair.form == "sum":
        row = digits[:2] if pair.asked == "top" else digits[2:]
        return str(sum(row)), f" The {pair.asked} row: {row[0]} plus {row[1]} is {sum(row)}."
    wanted = int(pair.asked)
    seen = ", ".join(f"{digit} {_yes(digit == wanted)}" for digit in digits)
    count = str(digits.count(wanted))
    return count, f" Find {wanted}: {seen}. The count is {count}."


def _compare_lists(pair: Pair, claim: Claim) -> str:
    listed = claim.value.replace("/", "").split()
    steps = ", ".join(
        f"{seen} {said} {_yes(str(seen) == said)}"
        for seen, said in zip(pair.digits, listed, strict=True)
    )
    return f"Compare: {steps}."


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"
