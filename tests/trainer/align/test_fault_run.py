"""MM-DPO trains with live margins while its service is killed, overloaded and cut off."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from mmreward_client import RewardClient
from mmreward_trainer.align.collating import MARGINS, NAMES
from mmreward_trainer.align.live_margins import ServiceMargins
from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer

from .conftest import Policies, example
from .fault_run import (
    CYCLE_S,
    LENGTH_S,
    LONGEST,
    PASSING,
    SLACK_S,
    SOAK_S,
    TIMEOUT_S,
    Clock,
    events_told,
)
from .steps import settings
from .unreliable_service import Process, Unreliable, truth_of

PAIRS = 24


class Recording(MMDPOTrainer):
    """Notes every margin that a loss was made of."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.used_margins: list[tuple[str, float | None, str | None]] = []

    def figures(self, tokens: Any, batch: Any) -> Any:
        self.used_margins += [
            (name, one.value, one.reason)
            for name, one in zip(batch[NAMES], batch[MARGINS], strict=True)
        ]
        return super().figures(tokens, batch)


def rows() -> list[dict[str, Any]]:
    """Each with a question of its own, so that no two of them are worth the same."""
    found = [example(number, id=f"q{number}") for number in range(PAIRS)]
    for number, row in enumerate(found):
        row["prompt"][0]["content"] += f" It is picture {number}."
    return found


def asked(row: dict[str, Any]) -> dict[str, Any]:
    texts = {name: row[name][0]["content"] for name in ("prompt", "chosen", "rejected")}
    return {"id": row["id"], "images": row["images"], **texts}


def train_through_faults(length_s: float, policy: Path, folder: Path) -> Counter[str]:
    """A run of so many seconds, held against the truth; counts of its events."""
    with Process(folder / "service.log") as real:
        real.wait()
        truth, answers = truth_of(real, [asked(row) for row in rows()])
        service = Unreliable(real, answers)
        source = ServiceMargins(
            service.urls, look_ahead=4, concurrency=3, timeout_s=TIMEOUT_S, silence_timeout_s=0.6,
            # Every pair is asked about in every epoch, and no outage is too long.
            cache_pairs=0, max_lost_calls=10**6,
        )  # fmt: skip
        trainer = Recording(
            model=str(policy),
            args=MMDPOConfig(
                **settings(folder, max_steps=10**6, save_strategy="no", learning_rate=1e-5)
            ),
            train_dataset=Dataset.from_list(rows()),
            margin_source=source,
        )
        begun = time.monotonic()
        counts = source.events.tally.counts
        trainer.add_callback(
            Clock(length_s, lambda: service.has_done_all() and counts["CallFailed"] > 0)
        )
        with service.going_wrong(CYCLE_S):
            trainer.train()
            seconds = time.monotonic() - begun
        told = "\n".join(service.told)
        # The run ended, and no step waited for longer than a request may take.
        assert seconds < LONGEST * length_s + TIMEOUT_S + SLACK_S, told
        waits = [o["margin_wait_s"] for o in trainer.state.log_history if "margin_wait_s" in o]
        assert len(waits) == trainer.state.global_step
        assert max(waits) < TIMEOUT_S + SLACK_S
        _no_wrong_margin_was_used(trainer, truth)
        lines = events_told(folder / "out" / "service-events.jsonl", service)
        assert answers.missing == 0
        assert real.kills >= 1
        # What came back after the kill is the same model, and serves.
        if not real.runs:
            real.start()
        real.wait()
        with RewardClient(real.url) as client:
            found = client.pairs([asked(rows()[5])]).data[0].delta
        assert found == truth["q5"]
        source.close()
    return lines


def _no_wrong_margin_was_used(trainer: Recording, truth: Mapping[str, float]) -> None:
    used = [(name, value) for name, value, _ in trainer.used_margins if value is not None]
    wrong = [(name, value) for name, value in used if value != truth[name]]
    assert wrong == []
    assert len({name for name, _ in used}) >= PAIRS / 3
    lacking = Counter(reason for *_, reason in trainer.used_margins if reason is not None)
    assert lacking == trainer.lacking
    assert set(lacking) <= PASSING | {"truncated"}
    # Of both kinds there were some: nulls, and calls that came to nothing while nobody answered.
    assert lacking["truncated"] > 0
    assert set(lacking) & PASSING
    lines = [one for one in trainer.state.log_history if "pairs/used" in one]
    assert sum(one["pairs/used"] for one in lines) == len(used)
    assert sum(one["pairs/dropped"] for one in lines) == sum(lacking.values())
    assert all(math.isfinite(one["loss"]) for one in lines)


def test_a_run_through_faults(policies: Policies, tmp_path: Path) -> None:
    """No wrong δ is used, nothing hangs, the run ends, and its log says what happened.

    LENGTH_S seconds of it. The long form does the same for ten minutes: some forty kills.
    """
    train_through_faults(LENGTH_S, policies(), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_ten_minutes_through_faults(policies: Policies, tmp_path: Path) -> None:
    """The same for SOAK_S seconds."""
    counts = train_through_faults(SOAK_S, policies(), tmp_path)
    assert counts["CallFailed"] > 10
