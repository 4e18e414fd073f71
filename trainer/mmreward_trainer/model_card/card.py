"""What a model card holds. None means that nobody measured it, and the card then says so.

A figure is never given without the number of pairs it rests on, nor without a place for its
interval and for the baselines that need no model: a number alone cannot be judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from mmreward_client.evaluation.benchmarks import Benchmark
from mmreward_service.reward.spec import RewardSpec

BENCHMARKS: Mapping[str, str] = {
    "mm-rlhf": "MM-RLHF-RewardBench",
    "vl": "VL-RewardBench",
    "pairs": "another file of pairs",
}
"""Every card has a line for each of these, measured or not."""

assert set(BENCHMARKS) == set(get_args(Benchmark))

TOPICS: tuple[str, ...] = (
    "spread over training seeds",
    "agreement of the service with the trainer's scores",
    "score without a critique (mode `none`)",
    "several sampled critiques (K > 1)",
    "preference for longer answers",
    "safety of what is preferred",
    "preference for hallucinated answers",
    "use as a reward while a policy is trained (reward hacking)",
    "languages other than those of the training data",
)
"""Questions that a user has; every card answers each, or says that it was not measured."""


@dataclass(frozen=True)
class Figure:
    """A share of right pairs, or of questions all of whose pairs are right.

    Attributes:
        part: what it is over: `overall`, a category, a set.
        metric: `ACC`, `ACC+`.
        value: the share; None: not measured.
        n: pairs (or questions) that it is over.
        interval_95: low and high.
        failed: pairs without a score, which are not in `n`.
        random, longer_wins: the same metric of these baselines on the same rows.

    Raises:
        ValueError: a value without its n, or numbers that are no shares.
    """

    part: str
    metric: str
    value: float | None
    n: int | None = None
    interval_95: tuple[float, float] | None = None
    failed: int | None = None
    random: float | None = None
    longer_wins: float | None = None

    def __post_init__(self) -> None:
        if self.value is not None and not self.n:
            raise ValueError(f"{self.part}, {self.metric}: a figure without its number of pairs")
        ends = self.interval_95 or ()
        for share in (self.value, self.random, self.longer_wins, *ends):
            if share is not None and not 0.0 <= share <= 1.0:
                raise ValueError(f"{self.part}, {self.metric}: {share} is no share")
        if self.interval_95 is not None and self.interval_95[0] > self.interval_95[1]:
            raise ValueError(f"{self.part}, {self.metric}: {self.interval_95} is no interval")


@dataclass(frozen=True)
class Evaluation:
    """Figures of one data set, and under which conditions they came about.

    Attributes:
        dataset: the benchmark's key where it is one of BENCHMARKS, else any name for it.
        conditions: what the figures depend on, in words; an answer to "measured how?".
        note: a sentence that a reader needs beside the table.
    """

    name: str
    dataset: str
    figures: tuple[Figure, ...]
    conditions: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True)
class Data:
    """What was trained on; a number that is None was not recorded.

    Attributes:
        sources: names of files or data sets, without the folders of the machine they lay on.
        pairs: rows that were trained on.
        fingerprint: of the set of rows.
        left_out: rows that were not, by reason; empty: none was.
    """

    sources: tuple[str, ...]
    rows: int | None = None
    pairs: int | None = None
    fingerprint: str | None = None
    left_out: Mapping[str, int] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """Everything that the card of a checkpoint says.

    Attributes:
        recipe: the resolved configuration; nested names are joined with dots.
        findings: answers to TOPICS, by topic; what is missing is told as not measured.
        versions: of what trained it, as recorded then.
        weights_sha256: of the weights that the figures are of.
    """

    name: str
    summary: str
    spec: RewardSpec
    weights_sha256: str
    intended_use: tuple[str, ...]
    limits: tuple[str, ...]
    data: Data | None = None
    command: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    findings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    license: str | None = None
    base_model: str | None = None
    datasets: tuple[str, ...] = ()
    language: str | None = None

    def __post_init__(self) -> None:
        if unknown := sorted(self.findings.keys() - set(TOPICS)):
            raise ValueError(f"findings on topics that no card has: {', '.join(unknown)}")
