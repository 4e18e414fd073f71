"""Figures about scored pairs: accuracy by kind, beta, whether delta knows, calibration error.

A tie counts as wrong, and so does a pair one of whose critiques was never finished.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from mmreward_client import dynamic_beta

from mmreward_trainer.digits.pairs import KINDS
from mmreward_trainer.digits.scoring import PairScores

BETA0, W, K = 0.1, 0.5, 0.5


def is_right(scores: PairScores) -> bool:
    delta = scores.delta
    return delta is not None and delta > 0.0


def share(results: Iterable[bool]) -> float | None:
    """Share of true values, None of an empty list."""
    values = list(results)
    return round(sum(values) / len(values), 4) if values else None


def quick_summary(scored: list[PairScores]) -> dict[str, Any]:
    """What a training run prints: accuracy clean by kind, hard, and the size of delta."""
    clean = [s for s in scored if not s.pair.is_hard]
    hard = [s for s in scored if s.pair.is_hard]

    def size(group: list[PairScores], right: bool) -> float | None:
        values = [abs(s.delta) for s in group if s.delta is not None and is_right(s) is right]
        return round(statistics.fmean(values), 2) if values else None

    return {
        "all": share(map(is_right, scored)),
        "clean": share(map(is_right, clean)),
        "hard": share(map(is_right, hard)),
        "unfinished": sum(s.delta is None for s in scored),
        "kinds": {
            kind: share(is_right(s) for s in clean if s.pair.kind == kind) for kind in KINDS
        },
        "delta_right": [size(clean, True), size(hard, True)],
        "delta_wrong": [size(clean, False), size(hard, False)],
    }
