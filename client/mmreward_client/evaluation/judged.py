"""A pair as a reward model has judged it: what every metric of this package is computed from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Judged:
    """One pair of an answer file.

    Attributes:
        id: the question; pairs of one question share it, and ACC+ counts questions.
        rewards: scores of the chosen and the rejected response, None where one of them failed.
        status: `ok`, or the reason why there are no rewards.
        chosen, rejected: the texts; None where the file does not have them.
        media: path of the image or video as the row gives it, empty if there is none.
        group: the row's own `category`, or its `source`; None if it has neither.
        prob: calibrated probability that the chosen response is the better one.
        orders: of a judge, delta with the chosen response shown first, and with it shown second.
    """

    id: str
    rewards: tuple[float, float] | None
    status: str = "ok"
    chosen: str | None = None
    rejected: str | None = None
    media: str = ""
    group: str | None = None
    prob: float | None = None
    orders: tuple[float, float] | None = None

    @property
    def delta(self) -> float | None:
        """reward(chosen) - reward(rejected), None for a failed pair."""
        return None if self.rewards is None else self.rewards[0] - self.rewards[1]

    @property
    def is_right(self) -> bool | None:
        """Chosen strictly above rejected: a tie is wrong. None for a failed pair."""
        return None if self.rewards is None else self.rewards[0] > self.rewards[1]


def by_id(pairs: Iterable[Judged]) -> dict[str, list[Judged]]:
    """The pairs of each question, questions in order of their first pair."""
    questions: dict[str, list[Judged]] = {}
    for pair in pairs:
        questions.setdefault(pair.id, []).append(pair)
    return questions
