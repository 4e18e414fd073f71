"""Figures of a load: rates and percentiles of the answered requests, the others counted apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mmreward_client.benching.load import Sample

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Figures:
    """What a load showed. A figure that nothing was measured for is None.

    Attributes:
        seconds: from the first request's due time to the last answer.
        answered: requests with a reply.
        errors: requests without one, by reason.
        statuses: items of the replies, by status.
        latency_s: percentile -> seconds of answered requests, by nearest rank.
        mean_s, max_s: of the same.
        stages_s: mean seconds of a request by stage, as the service measured them.
        cached_share: prompt tokens that the service had in memory, of all prompt tokens.
    """

    seconds: float
    answered: int
    errors: dict[str, int]
    statuses: dict[str, int]
    latency_s: dict[int, float]
    mean_s: float | None
    max_s: float | None
    stages_s: dict[str, float]
    prompt_tokens: int
    completion_tokens: int
    cached_share: float | None

    @property
    def scored(self) -> int:
        """Items with numbers: a group with a failed comparison has them, too."""
        return self.statuses.get("ok", 0) + self.statuses.get("partial", 0)

    def per_second(self, count: int) -> float | None:
        return count / self.seconds if self.seconds > 0 else None

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "requests": {"answered": self.answered, "errors": self.errors},
            "requests_per_s": self.per_second(self.answered),
            "items": self.statuses,
            "scored_items_per_s": self.per_second(self.scored),
            "latency_s": {f"p{place}": value for place, value in self.latency_s.items()}
            | {"mean": self.mean_s, "max": self.max_s},
            "stages_s": self.stages_s,
            "prompt_tokens": self.prompt_tokens,
            "prompt_tokens_cached_share": self.cached_share,
            "completion_tokens": self.completion_tokens,
            "completion_tokens_per_s": self.per_second(self.completion_tokens),
        }


def figures_of(samples: Sequence[Sample]) -> Figures:
    """The figures of at least one request.

    Raises:
        ValueError: there is none.
    """
    if not samples:
        raise ValueError("no request has ended")
    good = [sample for sample in samples if sample.error is None]
    times = sorted(sample.seconds for sample in good)
    prompt = sum(sample.usage.prompt_tokens for sample in good)
    ends = max(sample.due_s + sample.seconds for sample in samples)
    return Figures(
        seconds=ends - min(sample.due_s for sample in samples),
        answered=len(good),
        errors=dict(Counter(sample.error for sample in samples if sample.error is not None)),
        statuses=dict(Counter(status for sample in good for status in sample.statuses)),
        latency_s={place: nearest_rank(times, place) for place in PERCENTILES if times},
        mean_s=fmean(times) if times else None,
        max_s=times[-1] if times else None,
        stages_s=_stages(good),
        prompt_tokens=prompt,
        completion_tokens=sum(sample.usage.completion_tokens for sample in good),
        cached_share=(
            sum(sample.usage.cached_tokens for sample in good) / prompt if prompt else None
        ),
    )


def nearest_rank(ordered: Sequence[float], percentile: float) -> float:
    """The smallest value that `percentile` per cent of an ordered, not empty list do not exceed."""
    return ordered[max(1, math.ceil(percentile / 100 * len(ordered))) - 1]


def _stages(good: Sequence[Sample]) -> dict[str, float]:
    if not good:
        return {}
    names = type(good[0].timings).model_fields
    return {name: fmean(getattr(sample.timings, name) for sample in good) for name in names}
