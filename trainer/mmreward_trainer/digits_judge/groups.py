"""Questions with several answers of known quality, and comparisons of two of them.

A group is a pair of the bundled model's own rows (its picture, its question) with freshly worded
answers of graded truth. Like a pair it is a function of (split, wording, seed, index) alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import (
    HARD_SHARE,
    KIND_SHARES,
    KINDS,
    Claim,
    Kind,
    Pair,
    PairBuilder,
)
from mmreward_trainer.digits.wordings import PLACES, Wording
from mmreward_trainer.digits_judge.qualities import points, truth

GRADED_KINDS: tuple[Kind, ...] = ("object", "location", "count", "sum", "list")
"""Kinds whose answers can be more than right or wrong."""
_SPLIT_CODES: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}
_STREAM = 17  # keeps these rows apart from those of `draw_pair`


@dataclass(frozen=True)
class Comparison:
    """Two answers to the question of a pair, in the order in which they are shown."""

    pair: Pair
    first: Claim
    second: Claim

    @property
    def points(self) -> tuple[int, int]:
        return points(self.pair, self.first), points(self.pair, self.second)

    def swap(self) -> Comparison:
        return Comparison(self.pair, self.second, self.first)


@dataclass(frozen=True)
class Group:
    """Answers to one question; `pair` holds picture and question, and its own two answers."""

    pair: Pair
    answers: tuple[Claim, ...]

    @property
    def points(self) -> list[int]:
        """Known quality of every answer."""
        return [points(self.pair, answer) for answer in self.answers]


def draw_group(
    split: Split,
    wording: Wording,
    seed: int,
    index: int,
    size: int,
    *,
    kinds: tuple[Kind, ...] = GRADED_KINDS,
    hard_share: float = HARD_SHARE,
    lookalike_share: float = 0.25,
    tie_share: float = 0.0,
) -> Group:
    """The group of this index. Qualities differ as far as the question allows, then repeat.

    `tie_share` of the groups of two hold two answers of the same quality.

    Of kind `location` only "where is it" has answers between right and wrong: with the default
    `kinds` that is the question.
    """
    rng = np.random.default_rng((_STREAM, _SPLIT_CODES[split], wording == "held", seed, index))
    builder = _GroupBuilder(rng, split, wording, split == "train")
    builder.lookalike_share = lookalike_share
    shares = np.array([KIND_SHARES[KINDS.index(kind)] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    is_hard = bool(rng.random() < hard_share) and kind != "object"
    pair = builder.build(kind, is_hard)
    while kinds == GRADED_KINDS and pair.form == "location_what":
        pair = builder.build(kind, is_hard)
    return Group(pair, builder.graded_answers(pair, size, tie_share))


def draw_comparison(
    split: Split,
    wording: Wording,
    seed: int,
    index: int,
    kind: Kind,
    *,
    hard_share: float = HARD_SHARE,
    lookalike_share: float = 0.25,
    tie_share: float = 0.15,
) -> Comparison:
    """Two answers of graded quality to a question of any kind, some of equal quality."""
    group = draw_group(
        split, wording, seed, index, 2, kinds=(kind,), hard_share=hard_share,
        lookalike_share=lookalike_share, tie_share=tie_share,
    )  # fmt: skip
    return Comparison(group.pair, *group.answers)


class _GroupBuilder(PairBuilder):
    """Remembers what the question was filled with, and words any number of answers to it."""

    slots: dict[str, str]

    def _answers(
        self, form: str, claims: tuple[str, str], slots: dict[str, str]
    ) -> tuple[Claim, Claim, tuple[str, str]]:
        self.slots = slots
        return super()._answers(form, claims, slots)

    def graded_answers(self, pair: Pair, size: int, tie_share: float) -> tuple[Claim, ...]:
        claims = self._claims(pair)
        levels = sorted(claims)
        order: list[int] = []
        while len(order) < size:
            order += [levels[i] for i in self.rng.permutation(len(levels))]
        if size == 2 and self.rng.random() < tie_share:
            order[1] = order[0]
        shown = self.rng.permutation(size)
        answers = []
        for place in shown:
            options = claims[order[place]]
            value, adds_thing = options[self._below(len(options))]
            is_true = order[place] == max(levels)
            answers.append(self.answer(pair.form, value, self.slots, is_true, adds_thing)[0])
        return tuple(answers)

    def _claims(self, pair: Pair) -> dict[int, list[tuple[str, bool]]]:
        """Points -> (value, adds a thing) of the answers that are worth them."""
        found = truth(pair)
        match pair.form:
            case "count":
                values = [str(number) for number in range(5)]
            case "sum":
                values = [str(s) for s in range(19) if abs(s - int(found)) <= 8]
            case "location_where":
                values = list(PLACES)
            case "list":
                values = [self._list_with(pair.digits, right) for right in range(5)]
            case "existence":
                values = ["yes", "no"]
            case _:
                values = [found, str(self._other_digit(int(found), pair.is_hard))]
        things = (False, True) if pair.form == "object" else (False,)
        graded: dict[int, list[tuple[str, bool]]] = {}
        for value in values:
            for thing in things:
                worth = points(pair, Claim("", value, False, thing))
                graded.setdefault(worth, []).append((value, thing))
        return graded

    def _list_with(self, digits: list[int], right: int) -> str:
        """Four digits of which so many are at the right place."""
        kept = set(self.rng.permutation(4)[:right].tolist())
        said = [d if i in kept else self._other_digit(d, False) for i, d in enumerate(digits)]
        return f"{said[0]} {said[1]} / {said[2]} {said[3]}"
