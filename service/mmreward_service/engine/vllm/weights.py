"""Tensor names that transformers and vLLM do not agree on.

vLLM's model classes know most of the names a checkpoint can have. What they do not know is mapped
here, on loading, so that a folder written by any transformers release can be served.

LLaVA-OneVision: transformers 5 writes the SigLIP tower as `vision_tower.embeddings...`, while the
published checkpoints and vLLM say `vision_tower.vision_model.embeddings...`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch

_FLAT_TOWER = re.compile(r"^((?:model\.)?vision_tower\.)(embeddings|encoder|post_layernorm|head)\.")
_NESTED = "vision_tower.vision_model."


def rename_for_vllm(
    weights: Iterable[tuple[str, torch.Tensor]], vllm_names: Collection[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    """The same tensors under the names a vLLM model with parameters `vllm_names` looks for."""
    nested_tower = any(name.startswith(_NESTED) for name in vllm_names)
    for name, tensor in weights:
        yield (_FLAT_TOWER.sub(r"\1vision_model.\2.", name) if nested_tower else name), tensor


class RenamingModel:
    """Mix-in placed before a vLLM model class: it reads the names that the class does not know."""

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        module: Any = self
        names = {name for name, _ in module.named_parameters()}
        loaded: set[str] = super().load_weights(  # type: ignore[misc]
            rename_for_vllm(weights, names)
        )
        return loaded
