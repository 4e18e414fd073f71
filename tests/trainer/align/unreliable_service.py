"""A service of two replicas that is killed, restarted, overloaded and cut off while it is used.

One replica is a real `mmreward-serve` with the deterministic engine, killed with -9 and started
again. The other one says the same of the same pairs, as the same model, and goes wrong by chance.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mmreward_client import RewardClient
from mmreward_client.schema import Scored
from mmreward_client.testing import Fault, FaultPlan, LocalService, RecordedAnswers
from mmreward_client.testing.answers import Answers, Side, good

START_S = 240.0
CHANCES = {
    Fault("overloaded", retry_after_s=1): 0.12,
    Fault("not_ready", retry_after_s=None): 0.06,
    Fault("drop"): 0.06,
    Fault("drop_in_body"): 0.06,
    Fault("internal"): 0.03,
    Fault("deadline"): 0.03,
    Fault("silent"): 0.02,
    Fault("slow", seconds=0.4): 0.06,
    Fault("null", status="truncated", share=0.5): 0.2,
}


class Process:
    """`mmreward-serve` on a port of its own.

    Attributes:
        kills: how often it was killed.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self._port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        variables = {k: v for k, v in os.environ.items() if not k.startswith("MMREWARD_")}
        command = ["-m", "mmreward_service", "--engine", "fake", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=log,
                env=variables | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    @property
    def runs(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        """kill -9, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.kills += 1
        self._process = None

    def wait(self) -> None:
        with RewardClient(self.url) as client:
            assert client.wait_until_ready(timeout_s=START_S), self._log.read_text()[-2000:]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *how: object) -> None:
        self.kill()


def truth_of(
    real: Process, pairs: Sequence[dict[str, Any]]
) -> tuple[dict[str, float], RecordedAnswers]:
    """id -> δ, asked for pair by pair while nothing goes wrong; and the same as answers."""
    record: dict[str | tuple[str, str], Any] = {}
    truth: dict[str, float] = {}
    with RewardClient(real.url) as client:
        for pair in pairs:
            found = client.pairs([pair]).data[0]
            assert found.delta is not None
            truth[pair["id"]] = found.delta
            for side in ("chosen", "rejected"):
                record[pair["prompt"], pair[side]] = getattr(found, side).score
    return truth, RecordedAnswers(record)


class Judged:
    """Points of answers that nobody knows before a policy writes them.

    They are those of a process of the same model that nothing happens to. Its deterministic judge
    gives an answer the same points beside every other one.

    Args:
        pictures: question -> its picture.
    """

    def __init__(self, healthy: Process, pictures: Mapping[str, Any]) -> None:
        self._client = RewardClient(healthy.url)
        self._pictures = pictures

    def points(self, question: str, response: str) -> float:
        """The mean of its scores beside some other answer, in both orders."""
        picture = self._pictures[question]
        group = {"images": [picture], "prompt": question, "responses": [response, "Another one."]}
        found = self._client.groups([group]).data[0]
        assert found.status == "ok"
        assert found.scores[0] is not None
        return found.scores[0]

    def __call__(self, side: Side) -> Scored:
        return good(self.points(side.prompt, side.response))


class Unreliable:
    """Both replicas; `answers` are those of the real one.

    Attributes:
        told: what was done to them, with the second of the run.
    """

    def __init__(self, real: Process, answers: Answers, seed: int = 0) -> None:
        self.real = real
        with RewardClient(real.url) as client:
            fingerprint = client.models().data[0].provenance.fingerprint
        assert fingerprint is not None
        # Each once for certain, however few requests there are; then by chance.
        plan = FaultPlan([None, *CHANCES], chances=CHANCES, seed=seed)
        self.local = LocalService(answers, faults=plan, fingerprint=fingerprint)
        self.told: list[str] = []
        self.local.start()  # which gives it its address

    @property
    def urls(self) -> list[str]:
        return [self.real.url, self.local.url]

    def has_done_all(self) -> bool:
        """Whether everything went wrong that goes wrong by request."""
        return {fault.kind for fault in CHANCES} <= set(self.local.injected)

    @contextlib.contextmanager
    def going_wrong(self, cycle_s: float) -> Iterator[None]:
        """All that goes wrong by a clock, again and again, until the block ends.

        In each cycle the real replica is killed and started again, and the other one is cut off
        in between: for a fifth of a cycle nobody answers.
        """
        stopping = threading.Event()
        failures: list[BaseException] = []
        script = (
            (0.10, "kill -9", self.real.kill),
            (0.20, "cut off", self.local.stop),
            (0.40, "started again", self.real.start),
            (0.45, "there again", self.local.start),
            (0.70, "not ready", lambda: setattr(self.local, "is_ready", False)),
            (0.80, "ready", lambda: setattr(self.local, "is_ready", True)),
        )

        def work() -> None:
            begun = time.monotonic()
            cycle = 0
            while not stopping.is_set():
                for share, name, act in script:
                    at = begun + (cycle + share) * cycle_s
                    if stopping.wait(max(0.0, at - time.monotonic())):
                        return
                    self.told.append(f"{time.monotonic() - begun:.1f} s: {name}")
                    try:
                        act()
                    except BaseException as error:
                        failures.append(error)
                        return
                cycle += 1

        thread = threading.Thread(target=work)
        with self.local:
            thread.start()
            try:
                yield
            finally:
                stopping.set()
                thread.join()
        assert failures == []
