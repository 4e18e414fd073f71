"""The score slot: how a score travels in one padded column of the logits.

The hidden state that predicts the next token is the one the reward head reads. So the model writes
its score into a vocabulary column that no token uses, and the score comes back with the raw logits
of every step: no second pass, no second engine.

The slot masks itself: SLOT_OFFSET below the score it can never be sampled, and a score that is not
finite, or beyond MAX_ABS_SCORE, where the offset would no longer hide it, becomes -inf.
"""

from __future__ import annotations

import math

import torch

SLOT_OFFSET = 256.0
"""A power of two: adding it costs a score below 256 at most 2**-16 of rounding in float32."""

MAX_ABS_SCORE = 192.0
"""Scores of trained heads stay within a few tens; at 192 the slot is still at logit -64."""


def write_slot(
    logits: torch.Tensor, scores: torch.Tensor, slot: int, tokenizer_size: int
) -> torch.Tensor:
    """Mask the padded columns of logits (n, vocab) float32 and write scores (n,) into the slot.

    In place, without data-dependent control flow, so that it can be captured in a CUDA graph.
    """
    scores = scores.to(logits.dtype)
    # NaN compares false, so this one comparison covers NaN, both infinities and the range.
    readable = scores.abs() <= MAX_ABS_SCORE
    logits[..., tokenizer_size:] = -math.inf
    logits[..., slot] = torch.where(readable, scores - SLOT_OFFSET, -math.inf)
    return logits


def read_slot(value: float) -> float | None:
    """The score behind a raw slot logit, or None if there is no finite one."""
    if not math.isfinite(value):
        return None
    return value + SLOT_OFFSET
