"""Bytes of weights per GPU: what vLLM keeps of a checkpoint, split over tensor-parallel ranks.

vLLM cuts the matrices of attention and MLP and the vocabulary; norms, biases of the second matrix,
patch embeddings, the projector of LLaVA-OneVision and the reward head are on every rank. It cuts
keys and values into no more parts than there are KV heads. Tensors that only training needs (a tied
output layer, the tower's last norm where features are taken before it) are not kept.
"""

from __future__ import annotations

import math
import re

from mmreward_service.check.contents import architecture
from mmreward_service.check.folder import Folder
from mmreward_service.check.headers import DTYPE_BITS, TensorEntry

FLOAT_BITS = {"float32": 32, "bfloat16": 16, "float16": 16}
_FLOATS = {"F64", "F32", "F16", "BF16"}
_VOCABULARY_PADDING = 64

_VOCABULARY = re.compile(r"(^|\.)(embed_tokens|lm_head)\.weight$")
_KEYS_AND_VALUES = re.compile(r"layers\.\d+\.self_attn\.[kv]_proj\.")
_COLUMNS = re.compile(r"\.(q_proj|k_proj|v_proj|qkv|gate_proj|up_proj|fc1|linear_fc1|mlp\.0)\.")
_ROWS = re.compile(r"\.(o_proj|out_proj|attn\.proj|down_proj|fc2|linear_fc2|mlp\.2)\.weight$")
_PROJECTOR = re.compile(r"multi_modal_projector\.")
_TOWER_NORM = re.compile(r"vision_tower\.(vision_model\.)?post_layernorm\.")
_VISION = re.compile(r"(^|\.)(visual|vision_tower)\.")


def weight_bytes(folder: Folder, dtype: str, ranks: int) -> int:
    """Bytes on one of `ranks` GPUs with the model in `dtype`, the head in float32 beside it.

    Quantised tensors keep the size that they have in the file.
    """
    total = sum(entry.elements * 4 for entry in folder.head.values())
    for entry in folder.tensors:
        if not _is_kept(entry, folder):
            continue
        bits = FLOAT_BITS[dtype] if entry.dtype in _FLOATS else DTYPE_BITS[entry.dtype]
        total += math.ceil(_elements(entry) / _parts(entry.name, folder, ranks)) * bits // 8
    return total


def refused_ranks(folder: Folder, ranks: int) -> str | None:
    """Why a model cannot be split in so many parts, or None."""
    heads = folder.text_setting("num_attention_heads")
    if isinstance(heads, int) and heads % ranks:
        return f"{heads} attention heads"
    name = "num_attention_heads" if architecture(folder) == _LLAVA else "num_heads"
    tower = folder.vision_setting(name)
    if isinstance(tower, int) and tower % ranks:
        return f"{tower} heads of the vision tower"
    return None


_LLAVA = "LlavaOnevisionForConditionalGeneration"


def _is_kept(entry: TensorEntry, folder: Folder) -> bool:
    if _TOWER_NORM.search(entry.name):
        return False
    tied = bool(folder.text_setting("tie_word_embeddings"))
    return not (tied and entry.name.endswith("lm_head.weight"))


def _elements(entry: TensorEntry) -> int:
    if _VOCABULARY.search(entry.name):
        rows = math.ceil(entry.shape[0] / _VOCABULARY_PADDING) * _VOCABULARY_PADDING
        return rows * math.prod(entry.shape[1:])
    return entry.elements


def _parts(name: str, folder: Folder, ranks: int) -> int:
    if _PROJECTOR.search(name):
        return 1
    if _KEYS_AND_VALUES.search(name) and not _VISION.search(name):
        heads = folder.text_setting("num_key_value_heads")
        return min(ranks, heads) if isinstance(heads, int) else ranks
    if _VOCABULARY.search(name) or _COLUMNS.search(name) or _ROWS.search(name):
        return ranks
    return 1
