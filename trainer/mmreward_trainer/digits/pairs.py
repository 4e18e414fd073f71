"""Preference pairs about digits: the question, one true and one false answer, and the truth.

A pair is a function of (split, wording, seed, index) alone, so any batch of any run can be drawn
again. Both answers are worded independently, so length says nothing about which is true.

Hard pairs hide the digit that matters under noise, a bar or blur, strongly enough that a good
reader is often unsure; the false answer is then the one a reader would fall for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mmreward_trainer.digits import wordings
from mmreward_trainer.digits.images import Cell, Corruption, Split, draw_cell
from mmreward_trainer.digits.wordings import PLACES, ROWS, Wording

Kind = Literal["naming", "object", "location", "count", "sum", "list", "existence"]
KINDS: tuple[Kind, ...] = ("naming", "object", "location", "count", "sum", "list", "existence")
KIND_SHARES = (0.11, 0.14, 0.17, 0.14, 0.18, 0.14, 0.12)
HARD_SHARE = 0.14
_SPLIT_CODES: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}
# Digits that look alike, for false answers about a digit that can hardly be read.
LOOKALIKES = ((6, 8), (7, 4), (7, 3), (8, 5), (9, 1), (6, 9), (5, 8), (1, 9), (3, 9), (4, 8))


@dataclass(frozen=True)
class Claim:
    """What an answer says, as far as a critique has to check it."""

    text: str
    value: str  # digit, count, sum, place, "yes" / "no", or "3 5 / 3 8"
    is_true: bool
    adds_thing: bool = False

    def agrees_with(self, found: str) -> bool:
        """Is `found` what it says? Yes and no are about a count."""
        if self.value in ("yes", "no"):
            return (found != "0") == (self.value == "yes")
        return found == self.value


@dataclass(frozen=True)
class Pair:
    """One preference pair. `form` is the kind, with the two location questions told apart."""

    cells: tuple[Cell, ...]
    kind: Kind
    form: str
    prompt: str
    chosen: Claim
    rejected: Claim
    asked: str  # the digit, place or row the question is about, or ""
    is_hard: bool
    wording: Wording
    wording_ids: tuple[str, ...] = field(default=())

    @property
    def digits(self) -> list[int]:
        return [cell.digit for cell in self.cells]


def draw_pair(
    split: Split,
    wording: Wording,
    seed: int,
    index: int,
    *,
    augment: bool | None = None,
    hard_share: float = HARD_SHARE,
    far_list_share: float = 0.0,
    lookalike_share: float = 0.25,
    kind: Kind | None = None,
) -> Pair:
    """The pair of this index. Clean pictures are plain outside training, unless told otherwise.

    `far_list_share` of the false lists are any four digits; the others differ from the picture in
    one digit or by a swap, and a model may take them for what it sees. `lookalike_share` of the
    false digits of clean pairs look like the true one.
    """
    rng = np.random.default_rng((_SPLIT_CODES[split], wording == "held", seed, index))
    drawn = KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))]
    is_hard = bool(rng.random() < hard_share)
    builder = PairBuilder(rng, split, wording, split == "train" if augment is None else augment)
    builder.far_list_share = far_list_share
    builder.lookalike_share = lookalike_share
    return builder.build(kind or drawn, is_hard and (kind or drawn) != "object")


class PairBuilder:
    """Draws one pair; holds what every kind needs. `digits_judge` draws more answers with it."""

    def __init__(
        self, rng: np.random.Generator, split: Split, wording: Wording, augment: bool
    ) -> None:
        self.rng = rng
        self.split = split
        self.wording = wording
        self.augment = augment
        self.far_list_share = 0.0
        self.lookalike_share = 0.25
        self.careless = split == "train" and wording == "trained"

    def build(self, kind: Kind, is_hard: bool) -> Pair:
        count = 1 if kind in ("naming", "object") else 4
        digits = [int(digit) for digit in self.rng.integers(0, 10, count)]
        return getattr(self, f"_{kind}")(digits, is_hard)

    def _below(self, n: int) -> int:
        return int(self.rng.integers(n))

    def _other_digit(self, digit: int, is_hard: bool, avoid: tuple[int, ...] = ()) -> int:
        likely = [d for d in LOOKALIKES[digit] if d not in avoid]
        if likely and self.rng.random() < (0.6 if is_hard else self.lookalike_share):
            return likely[self._below(len(likely))]
        others = [d for d in range(10) if d != digit and d not in avoid]
        return others[self._below(len(others))]

    def _pair(
        self,
        kind: Kind,
        form: str,
        digits: list[int],
        hidden: int | None,
        claims: tuple[str, str],
        slots: dict[str, str],
        asked: str = "",
    ) -> Pair:
        """Word question and answers; `hidden` is the cell that a hard pair makes unreadable."""
        cells = [draw_cell(self.rng, self.split, digit, self.augment) for digit in digits]
        if hidden is not None:
            cells[hidden] = self._hide(cells[hidden])
        prompt, question_id = wordings.question(self.rng, form, self.wording, slots, self.careless)
        chosen, rejected, frames = self._answers(form, claims, slots)
        return Pair(
            tuple(cells), kind, form, prompt, chosen, rejected, asked,
            hidden is not None, self.wording, (question_id, *frames),
        )  # fmt: skip

    def _hide(self, cell: Cell) -> Cell:
        options: tuple[Corruption, ...] = ("noise", "occlusion", "blur")
        return replace(
            cell,
            corruption=options[self._below(3)],
            strength=float(self.rng.random()),
            noise_seed=int(self.rng.integers(2**31)),
        )

    def _answers(
        self, form: str, claims: tuple[str, str], slots: dict[str, str]
    ) -> tuple[Claim, Claim, tuple[str, str]]:
        same_frame = self.rng.random() < 0.25
        made: list[Claim] = []
        ids: list[str] = []
        frame: int | None = None
        for is_true, value in zip((True, False), claims, strict=True):
            adds_thing = form == "object" and not is_true
            claim, frame = self.answer(
                form, value, slots, is_true, adds_thing, frame if same_frame else None
            )
            made.append(claim)
            ids.append(f"{_answer_form(form, value)}.{self.wording}.a{frame}")
        return made[0], made[1], (ids[0], ids[1])

    def answer(
        self,
        form: str,
        value: str,
        slots: dict[str, str],
        is_true: bool,
        adds_thing: bool,
        frame: int | None = None,
    ) -> tuple[Claim, int]:
        """(answer that says `value`, frame number); `frame` repeats a frame drawn before."""
        tail = ""
        if form == "object":
            tail = (wordings.thing_tail if adds_thing else wordings.plain_tail)(
                self.rng, self.wording, self.careless
            )
        text, number = wordings.answer(
            self.rng, _answer_form(form, value), self.wording,
            {**slots, "x": self._spoken(form, value)}, self.careless, frame, tail,
        )  # fmt: skip
        return Claim(text, value, is_true, adds_thing), number

    def _spoken(self, form: str, value: str) -> str:
        if form == "location_where":
            return wordings.place_words(self.rng, value)
        if form == "list":
            return wordings.list_words(self.rng, [int(d) for d in value.replace("/", "").split()])
        return value

    def _naming(self, digits: list[int], is_hard: bool) -> Pair:
        false = self._other_digit(digits[0], is_hard)
        hidden = 0 if is_hard else None
        return self._pair("naming", "naming", digits, hidden, (str(digits[0]), str(false)), {})

    def _object(self, digits: list[int], is_hard: bool) -> Pair:
        claimed = digits[0]
        if self.rng.random() < 0.15:
            claimed = self._other_digit(digits[0], False)
        return self._pair("object", "object", digits, None, (str(digits[0]), str(claimed)), {})

    def _location(self, digits: list[int], is_hard: bool) -> Pair:
        cell = self._below(4)
        if self.rng.random() < 0.5:
            others = [d for i, d in enumerate(digits) if i != cell and d != digits[cell]]
            if others and self.rng.random() < 0.6 and not is_hard:
                false = others[self._below(len(others))]
            else:
                false = self._other_digit(digits[cell], is_hard)
            slots = {"place": wordings.place_words(self.rng, PLACES[cell])}
            return self._pair(
                "location", "location_what", digits, cell if is_hard else None,
                (str(digits[cell]), str(false)), slots, PLACES[cell],
            )  # fmt: skip
        wanted = digits[cell]
        for i in range(4):
            if i != cell and digits[i] == wanted:
                digits[i] = self._other_digit(wanted, False)
        decoy = (cell + 1 + self._below(3)) % 4
        if is_hard:
            # The other place holds a look-alike that is hidden as well as it can be.
            digits[decoy] = self._other_digit(wanted, True)
        hidden = (cell if self.rng.random() < 0.5 else decoy) if is_hard else None
        return self._pair(
            "location", "location_where", digits, hidden, (PLACES[cell], PLACES[decoy]),
            {"d": str(wanted)}, str(wanted),
        )  # fmt: skip

    def _count(self, digits: list[int], is_hard: bool) -> Pair:
        # Counts of 0 to 4 are drawn about evenly rather than as chance would have them.
        wanted = self._below(10)
        copies = int(self.rng.choice(5, p=(0.16, 0.28, 0.26, 0.18, 0.12)))
        places = self.rng.permutation(4)
        for rank, place in enumerate(places):
            digits[place] = wanted if rank < copies else self._other_digit(wanted, False)
        hidden = None
        if is_hard:
            hidden = self._below(4)
            step = -1 if digits[hidden] == wanted else 1
            if step == 1:
                digits[hidden] = self._other_digit(wanted, True)
            false = copies + step
        else:
            false = [c for c in range(5) if c != copies and abs(c - copies) <= 2][self._below(2)]
        return self._pair(
            "count", "count", digits, hidden, (str(copies), str(false)), {"d": str(wanted)},
            str(wanted),
        )  # fmt: skip

    def _sum(self, digits: list[int], is_hard: bool) -> Pair:
        row = self._below(2)
        first, second = digits[2 * row], digits[2 * row + 1]
        total = first + second
        hidden = None
        if is_hard:
            hidden = 2 * row + self._below(2)
            false = total - digits[hidden] + self._other_digit(digits[hidden], True)
        elif self.rng.random() < 0.35 and digits[2 - 2 * row] + digits[3 - 2 * row] != total:
            false = digits[2 - 2 * row] + digits[3 - 2 * row]
        else:
            near = [s for s in range(19) if s != total and abs(s - total) <= 4]
            false = near[self._below(len(near))]
        slots = {"row": wordings.row_words(self.rng, ROWS[row])}
        claims = (str(total), str(false))
        return self._pair("sum", "sum", digits, hidden, claims, slots, ROWS[row])

    def _list(self, digits: list[int], is_hard: bool) -> Pair:
        cell = self._below(4)
        false = list(digits)
        if not is_hard and self.rng.random() < 0.3 and len(set(digits)) > 1:
            other = [i for i in range(4) if digits[i] != digits[cell]]
            if other:
                swap = other[self._below(len(other))]
                false[cell], false[swap] = false[swap], false[cell]
        if not is_hard and self.far_list_share and self.rng.random() < self.far_list_share:
            false = [int(digit) for digit in self.rng.integers(0, 10, 4)]
        if false == digits:
            false[cell] = self._other_digit(digits[cell], is_hard)
        claims = (as_rows(digits), as_rows(false))
        return self._pair("list", "list", digits, cell if is_hard else None, claims, {})

    def _existence(self, digits: list[int], is_hard: bool) -> Pair:
        cell = self._below(4)
        exists = self.rng.random() < 0.5
        if exists:
            wanted = digits[cell]
            if is_hard:
                # It must be there once only, or the other one would answer the question.
                for i in range(4):
                    if i != cell and digits[i] == wanted:
                        digits[i] = self._other_digit(wanted, False)
        else:
            wanted = self._other_digit(digits[cell], is_hard, avoid=tuple(digits))
        claims = ("yes", "no") if exists else ("no", "yes")
        return self._pair(
            "existence", "existence", digits, cell if is_hard else None, claims,
            {"d": str(wanted)}, str(wanted),
        )  # fmt: skip


def _answer_form(form: str, value: str) -> str:
    return f"existence_{value}" if form == "existence" else form


def as_rows(digits: list[int]) -> str:
    """How observations and lists are written: "7", or "3 5 / 3 8" for a mosaic."""
    if len(digits) == 1:
        return str(digits[0])
    return f"{digits[0]} {digits[1]} / {digits[2]} {digits[3]}"
