"""How much GPU memory a checkpoint needs: exact for weights and KV cache, estimated for the rest.

    KV cache per token  2 * layers * KV heads of one rank * head size * bytes of its type
    vision encoder      patches * (3 * h + max(4 * h, 2 * m)) * bytes
    language model      tokens of a step * (3 * h + max(4 * h, 2 * m)) * bytes
    logits              sequences * vocabulary * (bytes + 4)

h is the width and m the MLP's inner width of the tower or of the language model: residual, normed
input and output, and beside them the widest thing of one layer, queries, keys, values and result or
both halves of the MLP. The logits stand there once as computed and once in float32, in which the
scores travel. Not counted: the CUDA context and graphs (1 to 3 GiB on common cards), workspaces of
attention kernels, fragmentation. vLLM measures its own peak at the start; these figures say which
card to rent, not how to fill it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mmreward_service.check.folder import Folder
from mmreward_service.check.pictures import most_patches
from mmreward_service.check.sharding import FLOAT_BITS, refused_ranks, weight_bytes

GIB = 1 << 30
RANKS = (1, 2, 4, 8)
DTYPES = ("float32", "bfloat16")
"""float16 needs what bfloat16 needs."""

BLOCK_TOKENS = 16
"""vLLM hands out the KV cache in blocks of 16 tokens on GPUs."""

DEFAULT_SEQUENCES = 64
DEFAULT_STEP_TOKENS = 8192


@dataclass(frozen=True)
class Load:
    """What the service is asked to do: tokens of one sequence, and sequences at once."""

    model_len: int
    sequences: int
    step_tokens: int
    kv_dtype_bytes: int | None = None


@dataclass(frozen=True)
class Need:
    """Bytes on each of `ranks` GPUs. `refused` says why it cannot be split like this."""

    dtype: str
    ranks: int
    weights: int
    kv_per_token: int
    kv_cache: int
    vision: int
    activations: int
    logits: int
    refused: str | None

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.vision + self.activations + self.logits


def needs(folder: Folder, load: Load) -> list[Need]:
    """One entry per type of float and number of GPUs; empty if the config lacks a size."""
    if not folder.tensors or text_sizes(folder) is None:
        return []
    return [_need(folder, load, dtype, ranks) for dtype in DTYPES for ranks in RANKS]


def load_of(folder: Folder, settings: Any, engine_args: dict[str, Any]) -> Load:
    """The load that settings and checkpoint imply, with stated defaults."""
    own = folder.text_setting("max_position_embeddings")
    cache_type = str(engine_args.get("kv_cache_dtype", "auto"))
    return Load(
        model_len=settings.max_model_len or (own if isinstance(own, int) else 4096),
        sequences=settings.max_num_seqs or DEFAULT_SEQUENCES,
        step_tokens=int(engine_args.get("max_num_batched_tokens") or DEFAULT_STEP_TOKENS),
        kv_dtype_bytes=1 if cache_type.startswith("fp8") else None,
    )


def kv_bytes_per_token(folder: Folder, dtype_bytes: int, ranks: int) -> int:
    """Keys and values of one token in all layers, on one rank."""
    sizes = text_sizes(folder)
    assert sizes is not None
    heads = max(1, math.ceil(sizes["kv_heads"] / ranks))
    return 2 * sizes["layers"] * heads * sizes["head_size"] * dtype_bytes


def text_sizes(folder: Folder) -> dict[str, int] | None:
    """Sizes of the language model, or None where config.json lacks one."""
    names = {
        "hidden": "hidden_size",
        "inner": "intermediate_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "vocabulary": "vocab_size",
    }
    sizes = {short: folder.text_setting(name) for short, name in names.items()}
    if any(not isinstance(value, int) for value in sizes.values()):
        return None
    kv_heads, head_size = (
        folder.text_setting("num_key_value_heads"),
        folder.text_setting("head_dim"),
    )
    sizes["kv_heads"] = kv_heads if isinstance(kv_heads, int) else sizes["heads"]
    sizes["head_size"] = (
        head_size if isinstance(head_size, int) else sizes["hidden"] // sizes["heads"]
    )
    return sizes


def _need(folder: Folder, load: Load, dtype: str, ranks: int) -> Need:
    sizes = text_sizes(folder)
    assert sizes is not None
    dtype_bytes = FLOAT_BITS[dtype] // 8
    per_token = kv_bytes_per_token(folder, load.kv_dtype_bytes or dtype_bytes, ranks)
    tokens = math.ceil(load.model_len / BLOCK_TOKENS) * BLOCK_TOKENS * load.sequences
    hidden, inner = sizes["hidden"], sizes["inner"]
    return Need(
        dtype=dtype,
        ranks=ranks,
        weights=weight_bytes(folder, dtype, ranks),
        kv_per_token=per_token,
        kv_cache=per_token * tokens,
        vision=vision_bytes(folder, dtype_bytes),
        activations=load.step_tokens * _layer_width(hidden, inner) * dtype_bytes,
        logits=load.sequences * sizes["vocabulary"] * (dtype_bytes + 4),
        refused=refused_ranks(folder, ranks),
    )


def vision_bytes(folder: Folder, dtype_bytes: int) -> int:
    """Estimate for the largest picture that the processor lets through; 0 if nothing is known."""
    hidden = folder.vision_setting("embed_dim") or folder.vision_setting("hidden_size")
    patches = most_patches(folder)
    if not isinstance(hidden, int) or patches is None:
        return 0
    inner = folder.vision_setting("intermediate_size")
    if not isinstance(inner, int):
        inner = int(hidden * (folder.vision_setting("mlp_ratio") or 4))
    return patches * _layer_width(hidden, inner) * dtype_bytes


def _layer_width(hidden: int, inner: int) -> int:
    return 3 * hidden + max(4 * hidden, 2 * inner)
