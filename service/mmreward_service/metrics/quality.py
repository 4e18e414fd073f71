"""What the model said: statuses of items and texts, scores, margins, tokens, agreement of orders.

A reward that drifts, critiques that grow and judgements that depend on the order are seen here, in
the middle of a training run, before they are seen in the policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from mmreward_client.schema import CritiqueStatus, Kind, Status
from prometheus_client import CollectorRegistry, Counter, Histogram

from mmreward_service.engine.protocol import TokenUsage
from mmreward_service.metrics.null_reasons import NullReason
from mmreward_service.metrics.signed import SignedDistribution

_SCORE_BOUNDS = (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30, 50, 75, 100, 200, 1000)
"""Heads mostly end within ±5, judges write 1 to 10, imported heads and other scales 0 to 100."""
_MARGIN_BOUNDS = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 20)
_TOKEN_BOUNDS = (8, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096)


class Quality:
    """To be told of the model (`create_model`) before anything else."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=registry)

        self._items = counter("mmreward_items", "Items by status.", "model", "status")
        self._comparisons = counter(
            "mmreward_comparisons", "Comparisons of two responses by status.", "model", "status"
        )
        self._critiques = counter(
            "mmreward_critiques",
            "Texts of the model by what could be read from them.",
            *("model", "kind", "status"),
        )
        self._nulls = counter(
            "mmreward_null_numbers", "Numbers of replies that are null.", "model", "reason"
        )
        self._swaps = counter(
            "mmreward_preference_swap",
            "Pairs judged in both orders: did both name the same winner?",
            "consistent",
        )
        self._prompt_tokens = counter(
            "mmreward_prompt_tokens", "Tokens of prompts, computed or cached.", "model", "source"
        )
        self._completion_tokens = counter(
            "mmreward_completion_tokens", "Tokens that the model wrote.", "model"
        )
        self._critique_tokens = Histogram(
            "mmreward_critique_tokens",
            "Tokens of a text that the model wrote.",
            ["model"],
            buckets=_TOKEN_BOUNDS,
            registry=registry,
        )
        self._scores = SignedDistribution(
            "mmreward_score", "Scores of responses", _SCORE_BOUNDS, registry
        )
        self._margins = SignedDistribution(
            "mmreward_margin", "Deltas of pairs", _MARGIN_BOUNDS, registry
        )
        for consistent in ("true", "false"):
            self._swaps.labels(consistent)

    def create_model(self, model: str, kinds: Iterable[Kind]) -> None:
        """Every series of the model, at 0."""
        kinds = tuple(kinds)
        self._model = model
        self._scores.create(model, kinds)
        self._margins.create(model, kinds)
        self._tokens_of_text = self._critique_tokens.labels(model)
        self._completion = self._completion_tokens.labels(model)
        self._computed = self._prompt_tokens.labels(model, "computed")
        self._cached = self._prompt_tokens.labels(model, "cached")
        for status in get_args(Status):
            self._items.labels(model, status)
            self._comparisons.labels(model, status)
        for reason in get_args(NullReason):
            self._nulls.labels(model, reason)
        for kind in kinds:
            for status in get_args(CritiqueStatus):
                self._critiques.labels(model, kind, status)

    def item(self, status: Status, nulls: Iterable[NullReason]) -> None:
        """An item was answered, with these reasons for its nulls, one for each."""
        self._items.labels(self._model, status).inc()
        for reason in nulls:
            self._nulls.labels(self._model, reason).inc()

    def comparison(self, status: Status) -> None:
        self._comparisons.labels(self._model, status).inc()

    def orders(self, agree: Iterable[bool]) -> None:
        for one in agree:
            self._swaps.labels("true" if one else "false").inc()

    def text(self, kind: Kind, status: CritiqueStatus, tokens: int) -> None:
        """The model wrote a text, and this could be read from it."""
        self._critiques.labels(self._model, kind, status).inc()
        self._tokens_of_text.observe(tokens)

    def score(self, kind: Kind, score: float) -> None:
        self._scores.observe(kind, score)

    def margin(self, kind: Kind, delta: float) -> None:
        self._margins.observe(kind, delta)

    def usage(self, usage: TokenUsage) -> None:
        self._computed.inc(usage.prompt_tokens - usage.cached_tokens)
        self._cached.inc(usage.cached_tokens)
        self._completion.inc(usage.completion_tokens)
