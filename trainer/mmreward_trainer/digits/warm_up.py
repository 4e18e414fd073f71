"""The vision tower learns to tell digits apart before the language model sees a picture.

The classifier is the language model's own: the ten digit tokens' embeddings, which are its output
weights, too. So the feature of a picture points where the embedding of its digit points, and the
language model meets pictures as tokens it can copy. A mosaic is read cell by cell, so that features
stay in their place. Afterwards the tower is frozen: the language loss falls faster on settled
features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mmreward_trainer.digits.batches import encode_patches, to_patches
from mmreward_trainer.digits.configuration import DigitsConfig
from mmreward_trainer.digits.images import Cell, Split, compose, draw_cell, render_cells

_CERTAIN = 8.0


def draw_cells(
    split: Split, seed: int, step: int, count: int, hard_share: float, augment: bool
) -> list[Cell]:
    """Cells for classification, a share of them corrupted; a function of its arguments alone."""
    rng = np.random.default_rng((7, seed, step))
    cells = []
    for _ in range(count):
        cell = draw_cell(rng, split, int(rng.integers(10)), augment)
        if rng.random() < hard_share:
            kind = ("noise", "occlusion", "blur")[int(rng.integers(3))]
            cell = replace(
                cell, corruption=kind, strength=float(rng.random()),
                noise_seed=int(rng.integers(2**31)),
            )  # fmt: skip
        cells.append(cell)
    return cells


def classify(visual: Any, words: torch.Tensor, cells: list[Cell]) -> torch.Tensor:
    """Logits (cells, 10) by the digits' embeddings (10, width).

    Half of the cells stand alone, the others in mosaics of four.
    """
    drawn = render_cells(cells)
    alone = len(cells) // 8 * 4
    mosaics = np.stack([compose(drawn[i : i + 4]) for i in range(alone, len(cells), 4)])
    single = encode_patches(visual, to_patches(drawn[:alone]))
    joined = encode_patches(visual, to_patches(mosaics))
    width = single.shape[-1]
    features = torch.cat([single.reshape(-1, width), joined.reshape(-1, width)])
    # A feature as long as the embedding it points along gets a logit of about _CERTAIN.
    return features @ words.T * (_CERTAIN / words.detach().square().sum(-1).mean())


def warm_up(
    visual: Any,
    embeddings: torch.Tensor,
    digit_tokens: list[int],
    config: DigitsConfig,
    on_step: Callable[[int, float], None],
) -> dict[str, float]:
    """Train the tower and the rows of ten digit tokens in the embeddings (vocabulary, width).

    Returns accuracies on validation digits, clean and corrupted.
    """
    words = torch.nn.Parameter(embeddings[digit_tokens].detach().clone())
    parameters = [*visual.parameters(), words]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.warm_up_learning_rate, betas=config.betas,
        weight_decay=config.warm_up_weight_decay,
    )  # fmt: skip
    for step in range(config.warm_up_steps):
        done = step / config.warm_up_steps
        rate = config.warm_up_learning_rate * min(1.0, (step + 1) / 50) * (1.0 - done)
        optimizer.param_groups[0]["lr"] = rate
        cells = draw_cells(
            "train", config.seed, step, config.warm_up_cells, config.warm_up_hard_share, True
        )
        labels = torch.tensor([cell.digit for cell in cells])
        loss = functional.cross_entropy(classify(visual, words, cells), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        on_step(step, float(loss.detach()))
    visual.requires_grad_(False)
    with torch.no_grad():
        embeddings[digit_tokens] = words
    return {"clean": _accuracy(visual, words, 0.0), "hidden": _accuracy(visual, words, 1.0)}


@torch.inference_mode()
def _accuracy(visual: Any, words: torch.Tensor, hard_share: float) -> float:
    cells = draw_cells("validation", 0, 0, 2000, hard_share, False)
    labels = torch.tensor([cell.digit for cell in cells])
    return float((classify(visual, words, cells).argmax(-1) == labels).float().mean())
