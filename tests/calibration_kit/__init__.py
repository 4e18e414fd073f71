"""Validation pairs, answers with a known temperature, and what a checkpoint was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from mmreward_client.data import ReadOptions
from mmreward_client.evaluation.questions import QuestionFile
from mmreward_trainer.calibration.validation import read_validation
from mmreward_trainer.training_rows import write_training_rows

TRUE_TEMPERATURE = 1.6


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"q{number}",
        "image": f"{number % 80}.png",
        "prompt": f"Which is it, number {number}?",
        "chosen": f"It is {number}.",
        "rejected": f"It is {number + 1}.",
        "category": ("shapes", "colours")[number % 2],
        **fields,
    }


def rewarded(rows: list[dict[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """Answers whose margins are right with probability sigmoid(|delta| / TRUE_TEMPERATURE)."""
    rng = np.random.default_rng(seed)
    answers = []
    for one in rows:
        delta = float(rng.normal(0.0, 3.0))
        if rng.random() > 1 / (1 + np.exp(-delta / TRUE_TEMPERATURE)):
            delta = -delta
        answers.append(
            {
                **one,
                "rewards": [delta, 0.0],
                "status": "ok",
                "fingerprint": "f" * 16,
                "request": {"critiques": 1, "mode": "generate", "frames": 16, "fps": 1.0},
            }
        )
    return answers


def train_on(folder: Path, pairs: Path | None) -> None:
    """Tell the checkpoint that it was trained on the rows of a file."""
    rows = read_validation(QuestionFile(pairs, ReadOptions(), "none")) if pairs else []
    facts = write_training_rows(folder, (one.fingerprint for one in rows))
    config = json.loads((folder / "config.json").read_text())
    config["reward"]["training_rows"] = facts
    (folder / "config.json").write_text(json.dumps(config))
