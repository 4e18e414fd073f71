"""The model writes critiques itself, many at a time; the score is read where each one ends.

Greedy at temperature 0. A critique that reaches the token limit has no end-of-turn: its score is
None, never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmreward_service.reward.head import RewardHead
from transformers import DynamicCache

from mmreward_trainer.digits.batches import Item, Sequences, embed, pad_sequences

MAX_CRITIQUE_TOKENS = 96


@dataclass(frozen=True)
class Written:
    """A critique without its end-of-turn token, and the score at the state that predicted it."""

    token_ids: list[int]
    score: float | None


@torch.inference_mode()
def write_critiques(
    model: Any,
    head: RewardHead,
    items: list[Item],
    features: dict[int, torch.Tensor],
    *,
    end_of_turn: int,
    tokenizer_size: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    samples: int = 1,
    batch_size: int = 192,
    max_tokens: int = MAX_CRITIQUE_TOKENS,
) -> list[list[Written]]:
    """`samples` critiques per item, in the order of the items; batches are of similar length."""
    order = sorted(range(len(items)), key=lambda i: len(items[i].prompt_ids))
    written: list[list[Written]] = [[] for _ in items]
    size = max(1, batch_size // samples)
    for start in range(0, len(order), size):
        members = order[start : start + size]
        sequences = pad_sequences(
            [items[i] for i in members], [[]] * len(members), model.config.image_token_id, left=True
        )
        batch = _write(
            model, head, sequences, features, end_of_turn, tokenizer_size, temperature, generator,
            samples, max_tokens,
        )  # fmt: skip
        for member, critiques in zip(members, batch, strict=True):
            written[member] = critiques
    return written


def _write(
    model: Any,
    head: RewardHead,
    sequences: Sequences,
    features: dict[int, torch.Tensor],
    end_of_turn: int,
    tokenizer_size: int,
    temperature: float,
    generator: torch.Generator | None,
    samples: int,
    max_tokens: int,
) -> list[list[Written]]:
    language_model = model.model.language_model
    width = sequences.ids.shape[1]
    mask = torch.tensor([[0] * (width - n) + [1] * n for n in sequences.lengths])
    cache = DynamicCache(config=language_model.config)
    inputs = embed(model, sequences, features)
    positions = sequences.positions
    rows = len(sequences.lengths) * samples
    tokens: list[list[int]] = [[] for _ in range(rows)]
    scores: list[float | None] = [None] * rows
    alive = list(range(rows))
    for step in range(max_tokens + 1):
        output = language_model(
            inputs_embeds=inputs, position_ids=positions, attention_mask=mask,
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        states = output.last_hidden_state[:, -1]
        last = positions[..., -1:]
        if step == 0 and samples > 1:
            cache.batch_repeat_interleave(samples)
            states = states.repeat_interleave(samples, 0)
            mask = mask.repeat_interleave(samples, 0)
            last = last.repeat_interleave(samples, 1)
        logits = model.lm_head(states)[:, :tokenizer_size].float()
        chosen = _choose(logits, temperature, generator)
        step_scores = head(states).tolist()
        going: list[int] = []
        for place, (row, token) in enumerate(zip(alive, chosen.tolist(), strict=True)):
            if token == end_of_turn:
                scores[row] = step_scores[place]
            elif step < max_tokens:
                tokens[row].append(token)
                going.append(place)
        if not going:
            break
        if len(going) < len(alive):
            # Finished rows leave, so that the longest critiques do not cost a full batch.
            kept = torch.tensor(going)
            cache.batch_select_indices(kept)
            mask, last, chosen = mask[kept], last[:, kept], chosen[kept]
            alive = [alive[place] for place in going]
        inputs = model.get_input_embeddings()(chosen[:, None])
        positions = last + 1
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], 1)
    flat = [Written(t, s) for t, s in zip(tokens, scores, strict=True)]
    return [flat[i : i + samples] for i in range(0, rows, samples)]


def _choose(
    logits: torch.Tensor, temperature: float, generator: torch.Generator | None
) -> torch.Tensor:
    if temperature == 0.0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator).squeeze(-1)
