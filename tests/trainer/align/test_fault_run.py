"""MM-DPO trains with live margins while its service is killed, overloaded and cut off."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from mmreward_client import RewardClient
from mmreward_trainer.align.collating import MARGINS, NAMES
from mmreward_trainer.align.live_margins import ServiceMargins
from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer
from transformers import TrainerCallback

from .conftest import Policies, example
from .steps import settings
from .unreliable_service import Process, Unreliable

LENGTH_S = 120.0
"""Of the run in the normal tests; the long form, `make soak`, is SOAK_S."""
SOAK_S = 600.0
CYCLE_S = 15.0
"""Everything that goes wrong by a clock goes wrong once in it."""
TIMEOUT_S = 1.5
SLACK_S = 30.0
"""For a machine that does other things at the same time."""
LONGEST = 3
"""Times its length that a run may take where steps are slow."""
PAIRS = 24
PASSING = {"TransportError", "Overloaded", "NotReady", "DeadlineExceeded", "ServerError"}


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


class Clock(TrainerCallback):
    """Ends the training when its time is over and enough has happened."""

    def __init__(self, length_s: float, enough: Callable[[], bool]) -> None:
        self._begun = time.monotonic()
        self._length_s = length_s
        self._enough = enough

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        seconds = time.monotonic() - self._begun
        if seconds >= LONGEST * self._length_s or (seconds >= self._length_s and self._enough()):
            control.should_training_stop = True


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
        service = Unreliable(real, [asked(row) for row in rows()])
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
            Clock(length_s, lambda: len(service.local.asked) >= 30 and counts["CallFailed"] > 0)
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
        _no_wrong_margin_was_used(trainer, service)
        lines = _the_log_tells(folder / "out" / "margin-events.jsonl", service)
        assert service.answers.missing == 0
        assert real.kills >= 1
        # What came back after the kill is the same model, and serves.
        if not real.runs:
            real.start()
        real.wait()
        with RewardClient(real.url) as client:
            found = client.pairs([asked(rows()[5])]).data[0].delta
        assert found == service.truth["q5"]
        source.close()
    return lines


def _no_wrong_margin_was_used(trainer: Recording, service: Unreliable) -> None:
    used = [(name, value) for name, value, _ in trainer.used_margins if value is not None]
    wrong = [(name, value) for name, value in used if value != service.truth[name]]
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


def _the_log_tells(file: Path, service: Unreliable) -> Counter[str]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["event"] == "Began"
    counts = Counter(line["event"] for line in lines)
    assert counts["RetryPlanned"] > 0
    assert counts["CallFailed"] > 0
    assert {line["url"] for line in lines if line["event"] == "ReplicaDown"} == set(service.urls)
    nulls = [line for line in lines if line["event"] == "CallDone" and "truncated" in
             line["statuses"]]  # fmt: skip
    assert nulls
    said = " ".join(str(line.get("error")) for line in lines)
    for kind, words in (("overloaded", "Overloaded"), ("not_ready", "NotReady"),
                        ("drop", "TransportError")):  # fmt: skip
        assert service.local.injected[kind] > 0, kind
        assert words in said
    return counts


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
