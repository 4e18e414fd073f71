"""What the log says of the completions of a step: what they earned, why some earned nothing, and
the signs of reward hacking.

Generative RLHF-V (arXiv 2505.18531, on over-training) saw policies append praise of their own
answers, which raised the scores of judges and lowered everything else. So these are logged:

    hacking/self_praise    share of completions that hold a phrase of the list
    hacking/length_ratio   mean length against that of the first lines of the log
    hacking/accuracy       share of completions that hold the known answer, for rows that have one
    NAME/right, NAME/wrong mean reward of those that do and of those that do not
    NAME/p10, p50, p90     of the rewards; NAME/spread the mean standard deviation within a prompt
    NAME/null              share without a reward; NAME/null_REASON by reason
    NAME/order_consistency of the judge, over groups judged in both orders

NAME is the reward function's. TRL averages each over the calls and processes of a log line.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from mmreward_client.evaluation.judges import KeywordJudge, read_phrases

from mmreward_trainer.align.grouped.matching import Match, is_right
from mmreward_trainer.align.grouped.reading import Completion

Reason = Literal["incomplete", "alone", "comparisons", "item", "call"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Cut at the length limit; no other complete one to be compared with; its comparisons failed; the
service gave it no score; the call had no answer."""

LENGTH = "completions/mean_length"
"""TRL's own name for the mean length of completions in tokens."""


@dataclass(frozen=True)
class Outcome:
    """What a completion is worth. `reason` says why it has no score of the service; a completion
    that was cut may have a reward nevertheless, if the caller named one."""

    reward: float | None
    reason: Reason | None


def packaged_phrases() -> tuple[str, ...]:
    """The phrases of self-praise that come with the package."""
    with_package = files("mmreward_trainer.align.grouped").joinpath("self_praise.txt")
    return read_phrases(Path(str(with_package)))


@dataclass(frozen=True)
class Figures:
    """Figures of a call.

    Attributes:
        phrases: of self-praise, beside those that come with the package.
        first_lines: lines of the log that lengths are compared with.
        match: how a completion is compared with the known answer: it `contains` it, or is it
            (`exact`); see `matching`.
    """

    phrases: Sequence[str] = ()
    first_lines: int = 10
    match: Match = "contains"

    def of(
        self,
        rows: Sequence[Completion],
        outcomes: Sequence[Outcome],
        consistencies: Sequence[float],
        history: Iterable[Mapping[str, Any]] = (),
    ) -> dict[str, float]:
        """Name -> value; a name without a slash is one of the reward function's own.

        Args:
            history: the lines that the trainer has logged so far.
        """
        if not rows:
            return {}
        values = _nulls(outcomes) | _rewards(rows, outcomes)
        if consistencies:
            values["order_consistency"] = statistics.fmean(consistencies)
        values["hacking/self_praise"] = statistics.fmean(
            self.praises_itself(row.response) for row in rows
        )
        first = first_mean(history, LENGTH, self.first_lines)
        if first:
            values["hacking/length_ratio"] = statistics.fmean(row.tokens for row in rows) / first
        return values | self._accuracy(rows, outcomes)

    def praises_itself(self, text: str) -> bool:
        """Whether a text holds a phrase of the list."""
        return bool(self._judge.is_refusal(text))

    @cached_property
    def _judge(self) -> KeywordJudge:
        # Made to find refusals; what it finds is a phrase of its list, as whole words.
        return KeywordJudge((*packaged_phrases(), *self.phrases))

    def _accuracy(
        self, rows: Sequence[Completion], outcomes: Sequence[Outcome]
    ) -> dict[str, float]:
        known = [
            (is_right(row.response, row.answer, self.match), one.reward)
            for row, one in zip(rows, outcomes, strict=True)
            if row.answer is not None
        ]
        if not known:
            return {}
        values = {"hacking/accuracy": statistics.fmean(right for right, _ in known)}
        for name, side in (("right", True), ("wrong", False)):
            earned = [reward for right, reward in known if right is side and reward is not None]
            if earned:
                values[name] = statistics.fmean(earned)
        return values


def first_mean(history: Iterable[Mapping[str, Any]], name: str, lines: int) -> float | None:
    """Mean of the first lines of the log that hold a value of this name; None if none does."""
    found: list[float] = []
    for line in history:
        found += values_of(line, name)
        if len(found) == lines:
            break
    return statistics.fmean(found) if found else None


def values_of(line: Mapping[str, Any], name: str) -> list[float]:
    """The value of this name, if the line holds one: of a step without any reward TRL logs NaN."""
    value = line.get(name)
    return [] if value is None or not math.isfinite(value) else [float(value)]


def _nulls(outcomes: Sequence[Outcome]) -> dict[str, float]:
    # All of them, always: TRL averages a name over the processes that have logged it.
    count = len(outcomes)
    missing = [one.reason for one in outcomes if one.reward is None]
    return {
        "null": len(missing) / count,
        **{f"null_{reason}": missing.count(reason) / count for reason in REASONS},
    }


def _rewards(rows: Sequence[Completion], outcomes: Sequence[Outcome]) -> dict[str, float]:
    earned = [one.reward for one in outcomes if one.reward is not None]
    if not earned:
        return {}
    quantiles = np.quantile(earned, (0.1, 0.5, 0.9)).tolist()
    values = dict(zip(("p10", "p50", "p90"), quantiles, strict=True))
    by_prompt: dict[str, list[float]] = {}
    for row, one in zip(rows, outcomes, strict=True):
        if one.reward is not None:
            by_prompt.setdefault(row.key, []).append(one.reward)
    spreads = [statistics.stdev(group) for group in by_prompt.values() if len(group) > 1]
    if spreads:
        values["spread"] = statistics.fmean(spreads)
    return values
