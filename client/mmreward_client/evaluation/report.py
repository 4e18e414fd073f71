"""The figures of a benchmark, overall and by category, with the baselines always beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from mmreward_client.evaluation.accuracy import measure
from mmreward_client.evaluation.baselines import longer_wins, random_scorer
from mmreward_client.evaluation.benchmarks import CATEGORIES, Benchmark, by_category
from mmreward_client.evaluation.curves import calibration
from mmreward_client.evaluation.intervals import SEED, acc_by_id, acc_plus_by_id, wilson
from mmreward_client.evaluation.judged import Judged
from mmreward_client.evaluation.orders import Share, measure_orders


def report(pairs: Sequence[Judged], benchmark: Benchmark, *, seed: int = SEED) -> dict[str, Any]:
    """Everything that is said about an answer file, ready for JSON; unknown numbers are None.

    `macro_acc` is the mean over the benchmark's categories, as VL-RewardBench defines it; None as
    soon as one of them has no scored pair.
    """
    groups = by_category(pairs, benchmark)
    categories = {name: figures(group, seed=seed) for name, group in groups.items()}
    overall = figures(pairs, seed=seed)
    named = [categories[name]["acc"] for name in CATEGORIES[benchmark]]
    macro = sum(named) / len(named) if named and None not in named else None
    return {
        "benchmark": benchmark,
        "overall": overall,
        "categories": categories,
        "macro_acc": macro,
        "baselines": overall["baselines"],
        "calibration": _calibration(pairs),
    }


def figures(pairs: Sequence[Judged], *, seed: int = SEED) -> dict[str, Any]:
    """The figures of one set of pairs; baselines are over all its pairs, scored or not."""
    found = measure(pairs)
    return {
        "acc": found.acc,
        "acc_plus": found.acc_plus,
        "pairs": found.pairs,
        "ids": found.ids,
        "acc_ci95": _listed(wilson(found.right, found.scored)),
        "acc_ci95_by_id": _listed(acc_by_id(pairs, seed=seed)),
        "acc_plus_ci95": _listed(acc_plus_by_id(pairs, seed=seed)),
        "scored": found.scored,
        "ids_scored": found.ids_scored,
        "failed": found.failed,
        "failures": dict(found.failures),
        "coverage": found.coverage,
        "acc_failed_as_wrong": found.acc_failed_as_wrong,
        "acc_plus_failed_as_wrong": found.acc_plus_failed_as_wrong,
        "orders": _orders(pairs, seed),
        "baselines": {
            "random": asdict(random_scorer(pairs)),
            "longer_wins": asdict(longer_wins(pairs)),
        },
    }


def _orders(pairs: Sequence[Judged], seed: int) -> dict[str, Any] | None:
    """What a judge does when answers change places; None of pairs that were not judged twice."""
    found = measure_orders(pairs, seed=seed)
    if found is None:
        return None
    said: dict[str, Any] = {"pairs": found.pairs}
    for field in fields(found):
        share = getattr(found, field.name)
        if isinstance(share, Share):
            said[field.name] = share.share
            said[f"{field.name}_ci95"] = _listed(share.ci95)
    return said


def _calibration(pairs: Sequence[Judged]) -> dict[str, Any] | None:
    """How far `prob` can be believed; None where the answers have none."""
    found = calibration(pairs)
    if found is None:
        return None
    return {"pairs": found.pairs, "ece": found.ece, "brier": found.brier}


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
