"""Grouped RL trains while its service is killed, overloaded and cut off."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_trainer.align.grouped.missing import LeavesMissingOut
from mmreward_trainer.align.grouped.rewards import GroupedReward
from mmreward_trainer.align.service_events import EventLog

from ..fault_run import CYCLE_S, LONGEST, SLACK_S, SOAK_S, TIMEOUT_S, Clock, events_told
from ..unreliable_service import Judged, Process, Unreliable
from .conftest import picture

LENGTH_S = 60.0
"""Of the run in the normal tests: four kills. The long form is SOAK_S."""
PICTURES = {f"What is {number}?": picture(number) for number in range(4)}
SIZE = 4


class Recording(GroupedReward):
    """Notes every completion that had its end, and its reward."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.given: list[tuple[str, str, float | None, str | None]] = []

    async def _outcomes(self, *arguments: Any) -> Any:
        found = await super()._outcomes(*arguments)
        self.given += [
            (row.prompt, row.response, one.reward, one.reason)
            for row, one in zip(found[0], found[1], strict=True)
        ]
        return found


class Noting(LeavesMissingOut):
    """Notes the rewards that advantages were made of, NaN where there was none."""

    rewards: list[float]

    def _calculate_rewards(self: Any, *arguments: Any) -> torch.Tensor:
        found = super()._calculate_rewards(*arguments)
        self.rewards += found[:, 0].tolist()
        return found


def train_through_faults(
    length_s: float, grpo: Callable[..., Any], folder: Path
) -> tuple[Counter[str], list[float]]:
    """A run of so many seconds, held against the truth; its events and the waits of its steps."""
    with ExitStack() as stack:
        real, healthy = (
            stack.enter_context(Process(folder / f"{name}.log")) for name in ("real", "healthy")
        )
        real.wait()
        healthy.wait()
        judged = Judged(healthy, PICTURES)
        service = Unreliable(real, judged)
        events = EventLog()
        events.path = folder / "service-events.jsonl"
        events.write("Began")
        reward = Recording(
            urls=service.urls, num_generations=SIZE, max_completion_length=99, timeout_s=TIMEOUT_S,
            silence_timeout_s=0.6, on_failure="none", patience=10**6, on_event=events,
        )  # fmt: skip
        trainer = grpo(reward, mixin=Noting, max_steps=10**6, save_strategy="no")
        trainer.rewards = []
        counts = events.tally.counts
        trainer.add_callback(
            Clock(length_s, lambda: service.has_done_all() and counts["CallFailed"] > 0)
        )
        begun = time.monotonic()
        with service.going_wrong(CYCLE_S):
            trainer.train()
            seconds = time.monotonic() - begun
        told = "\n".join(service.told)
        assert seconds < LONGEST * length_s + TIMEOUT_S + SLACK_S, told
        lines = [one for one in trainer.state.log_history if "service/seconds" in one]
        assert len(lines) == trainer.state.global_step
        waits = [one["service/seconds"] for one in lines]
        assert max(waits) < TIMEOUT_S + SLACK_S
        _no_wrong_reward_was_used(trainer, reward, judged)
        found = events_told(events.path, service)
        assert real.kills >= 1
    return found, waits


def _no_wrong_reward_was_used(trainer: Any, reward: Recording, judged: Judged) -> None:
    used = {(asked, answer, value) for asked, answer, value, _ in reward.given if value is not None}
    assert len({value for *_, value in used}) > 3
    wrong = [one for one in used if one[2] != judged.points(*one[:2])]
    assert wrong == []
    # What the advantages were made of is what the service said, in the same places.
    made = [None if value != value else value for value in trainer.rewards]
    assert made == [value for *_, value, _ in reward.given]
    lacking = Counter(reason for *_, reason in reward.given if reason is not None)
    assert made.count(None) == sum(lacking.values())
    # Answers that were null, and calls that came to nothing while nobody answered.
    assert lacking["item"] > 0
    assert lacking["call"] > 0
    assert set(lacking) <= {"item", "call", "comparisons"}
    lines = [one for one in trainer.state.log_history if "completions/left_out" in one]
    assert sum(one["completions/left_out"] for one in lines) * 2 * SIZE == pytest.approx(
        made.count(None)
    )
    assert all(torch.tensor([one["loss"], one["grad_norm"]]).isfinite().all() for one in lines)


def test_a_run_through_faults(grpo: Callable[..., Any], tmp_path: Path) -> None:
    """No wrong reward is used, nothing hangs, the run ends, and its log says what happened."""
    train_through_faults(LENGTH_S, grpo, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_ten_minutes_through_faults(grpo: Callable[..., Any], tmp_path: Path) -> None:
    """The same for SOAK_S seconds."""
    events, _ = train_through_faults(SOAK_S, grpo, tmp_path)
    assert events["CallFailed"] > 10
