"""Collators around TRL's: what a pair's loss needs beside token ids and pixels.

TRL drops every column that its own collators do not know, and its data loader those that its loss
does not know. A wrapping collator reads the columns before it delegates, and the trainer leaves the
unknown ones in. Nothing here is a float tensor: DeepSpeed casts those to the model's type, and a
δ in bfloat16 has 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mmreward_trainer.align.live_pairs import live_pairs
from mmreward_trainer.align.margins import MarginSource, name_of
from mmreward_trainer.align.token_weights import DenseWeights

Rows = list[dict[str, Any]]
Batch = dict[str, Any]
Collate = Callable[[Rows], Mapping[str, Any]]

MARGINS, CHANGED, NAMES = "pair_margins", "changed_tokens", "pair_names"
ASKED = "pairs_to_ask_about"
CARRIED = frozenset({MARGINS, CHANGED, NAMES, ASKED})
"""What the collators here add; the model takes none of it."""


@dataclass(frozen=True)
class NamingCollator:
    """Adds `pair_names` (a list), for messages."""

    inner: Collate

    def __call__(self, rows: Rows) -> Batch:
        names = [name_of(row, i) for i, row in enumerate(rows)]
        return {**self.inner(rows), NAMES: names}


@dataclass(frozen=True)
class MarginCollator:
    """Adds `pair_margins`: a list of `Margin`, one per pair."""

    inner: Collate
    source: MarginSource

    def __call__(self, rows: Rows) -> Batch:
        # Before the inner collator: TRL's empties the rows of what it does not know.
        margins = self.source.margins(rows)
        if len(margins) != len(rows):
            raise ValueError(f"a margin source gave {len(margins)} margins of {len(rows)} pairs")
        return {**self.inner(rows), MARGINS: margins}


@dataclass(frozen=True)
class AskingCollator:
    """Adds `pairs_to_ask_about`: a list of `LivePair`, one per pair, for whoever asks."""

    inner: Collate

    def __call__(self, rows: Rows) -> Batch:
        pairs = live_pairs(rows)
        return {**self.inner(rows), ASKED: pairs}


@dataclass(frozen=True)
class ChangedTokensCollator:
    """Adds `changed_tokens` (2 P, L), true at corrected tokens of answers."""

    inner: Collate
    weights: DenseWeights

    def __call__(self, rows: Rows) -> Batch:
        batch = self.inner(rows)
        return {**batch, CHANGED: changed_tokens(batch, self.weights)}


def changed_tokens(batch: Mapping[str, Any], weights: DenseWeights) -> torch.Tensor:
    """(2 P, L), for a batch whose first half are the chosen answers, padded on any side."""
    ids, answers = batch["input_ids"], batch["completion_mask"].bool()
    prompts = batch["attention_mask"].bool() & ~answers
    changed = torch.zeros_like(answers)
    pairs = len(ids) // 2
    for chosen, rejected in zip(range(pairs), range(pairs, 2 * pairs), strict=True):
        sides = weights.changed(
            ids[chosen][prompts[chosen]].tolist(),
            ids[chosen][answers[chosen]].tolist(),
            ids[rejected][answers[rejected]].tolist(),
        )
        for row, side in zip((chosen, rejected), sides, strict=True):
            changed[row, answers[row]] = torch.tensor(side, dtype=torch.bool)
    return changed
