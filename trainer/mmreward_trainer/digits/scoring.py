"""Scores of pairs by a model in training: self-written critiques, or no critique at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmreward_service.reward.checkpoint import load_head, load_spec
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.prompt import PromptRenderer

from mmreward_trainer.digits.batches import (
    encode_pictures,
    group_pictures,
    hidden_states,
    make_items,
    pad_sequences,
    render_pictures,
)
from mmreward_trainer.digits.generation import Written, write_critiques
from mmreward_trainer.digits.pairs import Pair

_CHUNK_PAIRS = 256


@dataclass(frozen=True)
class PairScores:
    """The critiques of both answers of a pair."""

    pair: Pair
    chosen: list[Written]
    rejected: list[Written]

    @property
    def delta(self) -> float | None:
        """Difference of the mean scores of finished critiques; None if a side has none."""
        sides = []
        for side in (self.chosen, self.rejected):
            scores = [one.score for one in side if one.score is not None]
            if not scores:
                return None
            sides.append(math.fsum(scores) / len(scores))
        return sides[0] - sides[1]


@dataclass
class DigitModel:
    """Model, head and renderer of one checkpoint, as training and evaluation use them."""

    model: Any
    head: RewardHead
    renderer: PromptRenderer

    @property
    def image_token(self) -> int:
        return int(self.model.config.image_token_id)

    @torch.inference_mode()
    def score_pairs(
        self,
        pairs: list[Pair],
        *,
        temperature: float = 0.0,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> list[PairScores]:
        """Write `samples` critiques of both answers of every pair and read their scores."""
        scored: list[PairScores] = []
        for start in range(0, len(pairs), _CHUNK_PAIRS):
            chunk = pairs[start : start + _CHUNK_PAIRS]
            features = encode_pictures(
                self.model.model.visual, group_pictures(render_pictures(chunk))
            )
            written = write_critiques(
                self.model, self.head, make_items(self.renderer, self.image_token, chunk), features,
                end_of_turn=self.renderer.end_of_turn_id,
                tokenizer_size=self.renderer.tokenizer_size,
                temperature=temperature, samples=samples, generator=generator,
            )  # fmt: skip
            scored += [
                PairScores(pair, written[2 * i], written[2 * i + 1]) for i, pair in enumerate(chunk)
            ]
        return scored

    @torch.inference_mode()
    def score_without_critique(self, pairs: list[Pair]) -> list[PairScores]:
        """Scores read where the prompt ends, before any critique: mode `none`."""
        scored: list[PairScores] = []
        for start in range(0, len(pairs), _CHUNK_PAIRS):
            chunk = pairs[start : start + _CHUNK_PAIRS]
            features = encode_pictures(
                self.model.model.visual, group_pictures(render_pictures(chunk))
            )
            items = make_items(self.renderer, self.image_token, chunk)
            sequences = pad_sequences(items, [[]] * len(items), self.image_token)
            states = hidden_states(self.model, sequences, features)
            ends = torch.tensor(sequences.lengths) - 1
            scores = self.head(states[torch.arange(len(items)), ends]).tolist()
            read = [Written([], score) for score in scores]
            scored += [
                PairScores(pair, [read[2 * i]], [read[2 * i + 1]]) for i, pair in enumerate(chunk)
            ]
        return scored


def load_digit_model(folder: Path) -> DigitModel:
    """A published checkpoint, in float32, for evaluation."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    spec = load_spec(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return DigitModel(model, load_head(folder, spec), PromptRenderer.from_checkpoint(folder, spec))
