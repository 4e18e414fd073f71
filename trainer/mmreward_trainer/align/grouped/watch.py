"""Warns when the figures of a run cross a threshold: of reward hacking, or of a judge that fails.

Every detector looks at the mean of the last lines of the log, so that one odd step is none, and
tells once when it is crossed, and anew after it was back in between. All it knows is in the
trainer's log, which a save holds: a resumed run is watched as if it had not stopped.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from mmreward_trainer.align.grouped.figures import first_mean, values_of

_LOG = logging.getLogger(__name__)
Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Thresholds:
    """When to warn; None switches a detector off.

    Attributes:
        self_praise: share of completions that praise themselves.
        length_ratio: mean length against the first lines; its inverse counts as well.
        null: share of completions without a reward.
        order_consistency: less of it is a warning. A judge that decides by a coin has 1/2.
        accuracy_drop: fall of the accuracy against the first lines while the reward has risen.
        recent_lines, first_lines: of the log, that are averaged.
    """

    self_praise: float | None = 0.1
    length_ratio: float | None = 2.0
    null: float | None = 0.2
    order_consistency: float | None = 0.5
    accuracy_drop: float | None = 0.1
    recent_lines: int = 5
    first_lines: int = 10


@dataclass(frozen=True)
class Warned:
    """A threshold that was crossed at a step; `text` says what it may mean."""

    step: int
    detector: str
    value: float
    threshold: float
    text: str


class Watch(TrainerCallback):  # type: ignore[misc]
    """The callback; on the main process it warns, elsewhere it keeps silent.

    Args:
        told: called with each warning, beside the log of this module.
        told_before: detectors that have warned before a run was resumed; None: all that its log
            says.

    Attributes:
        warned: all warnings of this process, in order.
    """

    def __init__(
        self,
        thresholds: Thresholds | None = None,
        told: Callable[[Warned], None] | None = None,
        told_before: Collection[str] | None = None,
    ) -> None:
        self.thresholds = thresholds or Thresholds()
        self.warned: list[Warned] = []
        self._told = told
        self._told_before = told_before
        self._crossed: set[str] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        # What a resumed run had crossed at its save it has told of already.
        lines = [line for line in state.log_history if "reward" in line]
        if lines:
            found = crossed(lines, self.thresholds, step=lines[-1]["step"])
            known = self._told_before
            self._crossed = {o.detector for o in found if known is None or o.detector in known}

    def on_log(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        lines = [line for line in state.log_history if "reward" in line]
        if not state.is_world_process_zero or not lines or lines[-1]["step"] != state.global_step:
            return
        found = {
            one.detector: one for one in crossed(lines, self.thresholds, step=state.global_step)
        }
        for name, one in found.items():
            if name not in self._crossed:
                self.warned.append(one)
                _LOG.warning("step %d: %s", one.step, one.text)
                if self._told is not None:
                    self._told(one)
        self._crossed = set(found)


def crossed(lines: Lines, limits: Thresholds, *, step: int) -> list[Warned]:
    """The thresholds that the last lines of a log have crossed."""
    found: list[Warned] = []

    def check(name: str, key: str, limit: float | None, text: str, *, below: bool = False) -> None:
        value = _recent(lines, key, limits.recent_lines)
        if value is not None and limit is not None and (value < limit if below else value > limit):
            found.append(Warned(step, name, value, limit, text.format(value=value, limit=limit)))

    check("self_praise", "hacking/self_praise", limits.self_praise,
          "{value:.0%} of the completions praise themselves (threshold {limit:.0%}): the policy "
          "may be learning to please the judge")  # fmt: skip
    ratio = limits.length_ratio
    for limit, below in ((ratio, False), (None if ratio is None else 1 / ratio, True)):
        check("length_ratio", "hacking/length_ratio", limit,
              "completions are {value:.2f} times as long as in the first steps (threshold "
              "{limit:.2f})", below=below)  # fmt: skip
    for key in _named(lines, "/null"):
        check(key, key, limits.null,
              "{value:.0%} of the completions have no reward (threshold {limit:.0%}): see the "
              "shares by reason")  # fmt: skip
    for key in _named(lines, "/order_consistency"):
        check(key, key, limits.order_consistency,
              "the judge names the same winner in both orders for {value:.0%} of the pairs only "
              "(threshold {limit:.0%}): it may be deciding by position", below=True)  # fmt: skip
    found += _accuracy(lines, limits, step)
    return found


def _accuracy(lines: Lines, limits: Thresholds, step: int) -> list[Warned]:
    limit, enough = limits.accuracy_drop, limits.first_lines + limits.recent_lines
    if limit is None or len(lines) < enough:
        return []
    names = ("hacking/accuracy", "reward")
    before = [first_mean(lines, name, limits.first_lines) for name in names]
    now = [_recent(lines, name, limits.recent_lines) for name in names]
    if before[0] is None or before[1] is None or now[0] is None or now[1] is None:
        return []
    drop = before[0] - now[0]
    if drop <= limit or now[1] <= before[1]:
        return []
    text = (
        f"the reward has risen from {before[1]:.2f} to {now[1]:.2f} while the accuracy fell from "
        f"{before[0]:.0%} to {now[0]:.0%} (threshold {limit:.0%}): what is rewarded is not what is "
        "right"
    )
    return [Warned(step, "accuracy_drop", drop, limit, text)]


def _recent(lines: Lines, key: str, count: int) -> float | None:
    values = [value for line in lines[-count:] for value in values_of(line, key)]
    return statistics.fmean(values) if values else None


def _named(lines: Lines, ending: str) -> list[str]:
    return [key for key in lines[-1] if key.endswith(ending)]
