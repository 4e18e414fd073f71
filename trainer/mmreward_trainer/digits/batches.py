"""Pairs to tensors, and the forward pass: what transformers computes, without its detours.

The modules are those of Qwen2.5-VL; only the glue around them is ours, because pictures here come
in two sizes and sit at one place of the prompt. A test compares both ways of computing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmreward_service.reward.prompt import PromptRenderer
from numpy.typing import NDArray

from mmreward_trainer.digits.architecture import PATCH
from mmreward_trainer.digits.images import compose, render_cells
from mmreward_trainer.digits.pairs import Pair


@dataclass(frozen=True)
class Item:
    """One answer to be criticised: prompt ids with expanded placeholders, and its picture's row."""

    prompt_ids: list[int]
    picture: int
    cells: int  # 1 or 4


@dataclass(frozen=True)
class Pictures:
    """Pictures of a batch, patchified, by size, and which row of the batch each one is."""

    patches: dict[int, torch.Tensor]  # cells -> (n, 4 * cells, 1176)
    rows: dict[int, list[int]]


def render_pictures(pairs: list[Pair]) -> list[NDArray[np.uint8]]:
    """One picture per pair, (28, 28) or (56, 56)."""
    drawn = render_cells([cell for pair in pairs for cell in pair.cells])
    pictures, start = [], 0
    for pair in pairs:
        pictures.append(compose(drawn[start : start + len(pair.cells)]))
        start += len(pair.cells)
    return pictures


def to_patches(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Grey pictures (n, side, side) -> (n, patches, 1176) in the order of the image processor."""
    n, side, _ = pictures.shape
    grid = side // PATCH
    scaled = torch.from_numpy(pictures.astype(np.float32)) / 127.5 - 1.0
    blocks = scaled.view(n, grid // 2, 2, PATCH, grid // 2, 2, PATCH).permute(0, 1, 4, 2, 5, 3, 6)
    flat = blocks.reshape(n, grid * grid, 1, PATCH * PATCH)
    # Three equal channels, and the same frame twice: the patches of a video model.
    return flat.expand(-1, -1, 6, -1).reshape(n, grid * grid, 6 * PATCH * PATCH)


def group_pictures(pictures: list[NDArray[np.uint8]]) -> Pictures:
    rows: dict[int, list[int]] = {1: [], 4: []}
    for row, picture in enumerate(pictures):
        rows[1 if picture.shape[0] == 2 * PATCH else 4].append(row)
    rows = {cells: members for cells, members in rows.items() if members}
    patches = {
        cells: to_patches(np.stack([pictures[row] for row in members]))
        for cells, members in rows.items()
    }
    return Pictures(patches, rows)


def encode_pictures(visual: Any, pictures: Pictures) -> dict[int, torch.Tensor]:
    """Image features by picture row: (1, width) or (4, width)."""
    features = {}
    for cells, patches in pictures.patches.items():
        merged = encode_patches(visual, patches)
        for row, feature in zip(pictures.rows[cells], merged, strict=True):
            features[row] = feature
    return features


def encode_patches(visual: Any, patches: torch.Tensor) -> torch.Tensor:
    """(n, patches, 1176) -> (n, patches / 4, width): pictures of one size, all in one pass."""
    n, count, _ = patches.shape
    hidden = visual.patch_embed(patches.reshape(n * count, -1)).view(n, count, -1)
    cos, sin = visual.rotary_pos_emb(hidden[0], _patch_positions(count))
    heads = visual.blocks[0].attn.num_heads
    for block in visual.blocks:
        normed = block.norm1(hidden)
        q, k, v = block.attn.qkv(normed).view(n, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        hidden = hidden + block.attn.proj(mixed.transpose(1, 2).reshape(n, count, -1))
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged: torch.Tensor = visual.merger(hidden.reshape(n * count, -1))
    return merged.view(n, count // 4, -1)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


def _patch_positions(count: int) -> torch.Tensor:
    """(row, column) of every patch, in merge order: two by two."""
    merged = int((count // 4) ** 0.5)
    return torch.tensor(
        [
            (2 * i + a, 2 * j + b)
            for i in range(merged)
            for j in range(merged)
            for a in range(2)
            for b in range(2)
        ]
    )


def make_items(renderer: PromptRenderer, image_token: int, pairs: list[Pair]) -> list[Item]:
    """Items in the order chosen, rejected, chosen, ...; rendered as the service renders."""
    items = []
    for row, pair in enumerate(pairs):
        for claim in (pair.chosen, pair.rejected):
            ids = renderer.render(prompt=pair.prompt, response=claim.text, images=1)
            at = ids.index(image_token)
            cells = len(pair.cells)
            items.append(Item(ids[:at] + [image_token] * cells + ids[at + 1 :], row, cells))
    return items


@dataclass(frozen=True)
class Sequences:
    """Right-padded sequences (rows, length): causal attention never looks at what is behind."""

    ids: torch.Tensor
    positions: torch.Tensor  # (3, rows, length)
    lengths: list[int]
    prompt_lengths: list[int]
    items: list[Item]


def pad_sequences(
    items: list[Item], continuations: list[list[int]], image_token: int, left: bool = False
) -> Sequences:
    """Prompts with their critiques. `left` pads before the prompt, for generation."""
    lengths = [len(i.prompt_ids) + len(c) for i, c in zip(items, continuations, strict=True)]
    width = max(lengths)
    ids = np.zeros((len(items), width), dtype=np.int64)
    positions = np.zeros((3, len(items), width), dtype=np.int64)
    for row, (item, continuation) in enumerate(zip(items, continuations, strict=True)):
        start = width - lengths[row] if left else 0
        ids[row, start : start + lengths[row]] = item.prompt_ids + continuation
        at = item.prompt_ids.index(image_token)
        positions[:, row, start : start + lengths[row]] = mrope_positions(
            lengths[row], at, item.cells
        )
    return Sequences(
        torch.from_numpy(ids), torch.from_numpy(positions), lengths,
        [len(item.prompt_ids) for item in items], items,
    )  # fmt: skip


def mrope_positions(length: int, at: int, cells: int) -> NDArray[np.int64]:
    """Positions (3, length) of a sequence with one picture at index `at`: time, row, column."""
    side = 1 if cells == 1 else 2
    positions = np.tile(np.arange(length), (3, 1))
    positions[:, at + cells :] -= cells - side
    positions[:, at : at + cells] = at
    positions[1, at : at + cells] += np.arange(cells) // side
    positions[2, at : at + cells] += np.arange(cells) % side
    return positions


def embed(model: Any, sequences: Sequences, features: dict[int, torch.Tensor]) -> torch.Tensor:
    """Token embeddings (rows, length, width) with the image features in place."""
    embedded = model.get_input_embeddings()(sequences.ids)
    mask = sequences.ids == model.config.image_token_id
    return embedded.masked_scatter(
        mask.unsqueeze(-1), torch.cat([features[item.picture] for item in sequences.items])
    )


def hidden_states(
    model: Any, sequences: Sequences, features: dict[int, torch.Tensor]
) -> torch.Tensor:
    """Last hidden states (rows, length, width), after the final norm: what the head reads."""
    output = model.model.language_model(
        inputs_embeds=embed(model, sequences, features),
        position_ids=sequences.positions,
        use_cache=False,
    )
    states: torch.Tensor = output.last_hidden_state
    return states
