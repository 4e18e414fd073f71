"""What came of a judgement, and what that is worth as a reward.

Generative RLHF-V (arXiv 2505.18531, appendix) rewards a judgement with 1 if exactly two numbers
stand in its box and the strictly larger one belongs to the preferred answer, else with 0; nothing
rewards the reasoning. The parser is the service's, so what earns a reward here is what will be a
score there; a judgement that was cut off before its end is no score there and earns none here,
even if a box stands in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmreward_service.reward.judgement import Scores, Unparsed, parse_scores
from mmreward_service.reward.prompt import PromptRenderer

from mmreward_trainer.judge.configuration import Rewards

Kind = Literal["right", "wrong", "tie", "unparsed", "truncated"]
KINDS: tuple[Kind, ...] = ("right", "wrong", "tie", "unparsed", "truncated")


@dataclass(frozen=True)
class Verdict:
    """A judgement that was read.

    Attributes:
        scores: of the first and of the second answer; None where there are none.
    """

    kind: Kind
    scores: Scores | None

    @property
    def winner(self) -> Literal["first", "second"] | None:
        """The answer with the higher score; None without one."""
        if self.scores is None or self.scores[0] == self.scores[1]:
            return None
        return "first" if self.scores[0] > self.scores[1] else "second"


def read_verdict(
    text: str | None, *, chosen_first: bool, score_range: Sequence[float] | None
) -> Verdict:
    """What a judgement says about a pair.

    Args:
        text: None if it was cut off before its end.
    """
    if text is None:
        return Verdict("truncated", None)
    scores = parse_scores(text, score_range)
    if isinstance(scores, Unparsed):
        return Verdict("unparsed", None)
    chosen, rejected = scores if chosen_first else scores[::-1]
    if chosen == rejected:
        return Verdict("tie", scores)
    return Verdict("right" if chosen > rejected else "wrong", scores)


def reward(kind: Kind, worth: Rewards) -> float:
    """What a judgement of this kind is worth."""
    if kind in ("unparsed", "truncated"):
        return worth.failed
    return float(getattr(worth, kind)) + worth.format


class JudgementReward:
    """The reward function that TRL calls; logs the share of every kind beside.

    TRL passes a column of the schedule as a list, and `log_metric`, which averages over a step.
    """

    __name__ = "judgement"

    def __init__(self, renderer: PromptRenderer, worth: Rewards) -> None:
        self._renderer = renderer
        self._worth = worth

    def __call__(
        self,
        *,
        completion_ids: list[list[int]],
        chosen_first: list[bool],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        """One reward for each completion, given with its end-of-turn unless it was cut off."""
        verdicts = [
            read_verdict(self._text(ids), chosen_first=is_first, score_range=self._range)
            for ids, is_first in zip(completion_ids, chosen_first, strict=True)
        ]
        for name, value in shares(verdicts).items():
            log_metric(name, value)
        return [reward(one.kind, self._worth) for one in verdicts]

    @property
    def _range(self) -> Sequence[float] | None:
        return self._renderer.spec.score_range

    def _text(self, ids: list[int]) -> str | None:
        if not ids or ids[-1] != self._renderer.end_of_turn_id:
            return None
        return self._renderer.decode(ids[:-1])


def shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Share of each kind, of `parsed`, and `first_wins` among verdicts with a winner, if any.

    With balanced positions a judge without a position bias has `first_wins` 1/2.
    """
    counts = Counter(one.kind for one in verdicts)
    found = {f"share/{kind}": counts[kind] / len(verdicts) for kind in KINDS}
    found["share/parsed"] = sum(one.scores is not None for one in verdicts) / len(verdicts)
    winners = [one.winner for one in verdicts if one.winner is not None]
    if winners:
        found["share/first_wins"] = winners.count("first") / len(winners)
    return found
