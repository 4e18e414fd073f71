"""`mmreward-train critique` in a process of its own, as users start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 400


class Command:
    """`mmreward-train critique` with settings for a small run on a CPU."""

    def __init__(self, model: Path, data: Path, output: Path, **settings: Any) -> None:
        self.output = output
        chosen = {
            "run.cpu": "true",
            "run.precision": "float32",
            "run.save_every_steps": 2,
            "data.workers": 0,
            "optimisation.pairs_per_step": 4,
            "optimisation.pairs_per_batch": 2,
            "optimisation.learning_rate": 1e-3,
            "optimisation.max_steps": 6,
            "reward.max_critique_tokens": 12,
            **settings,
        }
        self.arguments = [
            "critique", "--output", str(output), "--model", str(model),
            "--train", str(data / "train.jsonl"), "--validation", str(data / "validation.jsonl"),
            *(word for name, value in chosen.items() for word in ("--set", f"{name}={value}")),
        ]  # fmt: skip

    def start(self, *more: str, launcher: tuple[str, ...] = (), **environment: str) -> Any:
        program = launcher or ("-m", "mmreward_trainer")
        return subprocess.Popen(
            [sys.executable, *program, *self.arguments, *more],
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )

    def run(self, *more: str, launcher: tuple[str, ...] = (), **environment: str) -> str:
        """What it printed; fails unless it ended with 0."""
        process = self.start(*more, launcher=launcher, **environment)
        printed, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, printed[-4000:]
        return str(printed)

    def curve(self) -> list[tuple[int, float]]:
        """(step, loss) of every step, as logged."""
        history = json.loads((self.output / "run" / "history.json").read_text())
        return [(one["step"], one["loss"]) for one in history if "loss" in one]
