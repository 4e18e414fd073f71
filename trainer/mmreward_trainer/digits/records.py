"""What a checkpoint says about its making: fingerprints of the rows, and the training record."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from mmreward_trainer.digits import frames_additions, frames_answers, frames_questions
from mmreward_trainer.digits.configuration import DigitsConfig
from mmreward_trainer.digits.images import SPLIT_SIZES, load_digits_by_split
from mmreward_trainer.digits.pairs import Pair
from mmreward_trainer.digits.steps import training_pairs

_FINGERPRINTED_PAIRS = 1000


def row_fingerprint(pair: Pair) -> str:
    """sha256 of everything a pair consists of: pictures, drawing, texts, truth."""
    return hashlib.sha256(json.dumps(asdict(pair), sort_keys=True).encode()).hexdigest()


def training_versions() -> dict[str, str]:
    """What a run depends on; scikit-learn is where the pictures come from."""
    names = ("mmreward", "torch", "transformers", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def training_rows(config: DigitsConfig) -> dict[str, Any]:
    """Fingerprints of the training rows, for the checkpoint's reward object.

    Rows are generated, so the first thousand stand for all; together with the pictures and the
    wordings they pin the generator.
    """
    digits = load_digits_by_split()
    steps = range(-(-_FINGERPRINTED_PAIRS // config.pairs_per_step))
    first = [pair for step in steps for pair in training_pairs(config, step)]
    rows = hashlib.sha256(
        "".join(row_fingerprint(pair) for pair in first[:_FINGERPRINTED_PAIRS]).encode()
    )
    pictures = hashlib.sha256(digits.pictures[digits.members["train"]].tobytes())
    wordings = [frames_questions.QUESTIONS, frames_answers.ANSWERS]
    wordings += [value for name, value in sorted(vars(frames_additions).items()) if name.isupper()]
    words = hashlib.sha256(json.dumps(wordings, sort_keys=True).encode())
    return {
        "source": "scikit-learn load_digits, split by picture",
        "pairs": config.total_steps * config.pairs_per_step,
        "pictures": SPLIT_SIZES["train"],
        "pictures_sha256": pictures.hexdigest(),
        "wordings_sha256": words.hexdigest(),
        "first_rows_sha256": rows.hexdigest(),
    }
