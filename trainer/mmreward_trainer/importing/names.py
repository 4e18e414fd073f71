"""Tensor names of others -> names that transformers and vLLM both read, and names of heads.

Each model family has one canonical set of names, that of the checkpoints its authors published. The
rules below turn every other spelling we know into it: the names that transformers gives its modules
since 4.52, wrappers of TRL, and LLaVA-NeXT's own modules. A name that no rule knows stays as it is,
is then not among the expected ones, and is refused by `plan`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Family = Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision"]
Form = Literal["llava-qwen", "sequence-classification", "value-head"]

_Rules = tuple[tuple[re.Pattern[str], str], ...]


def _rules(*pairs: tuple[str, str]) -> _Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_QWEN2: _Rules = _rules(
    (r"^(?:model\.)?visual\.", "visual."),
    (r"^model\.language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^model\.language_model\.(?:model\.)?", "model."),
    (r"^language_model\.model\.", "model."),
)
_QWEN3: _Rules = _rules(
    (r"^(?:model\.)?visual\.", "model.visual."),
    (r"^(?:model\.)?language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
)
_ONEVISION: _Rules = _rules(
    (
        r"^(?:model\.)?vision_tower\.(embeddings|encoder|post_layernorm|head)\.",
        r"vision_tower.vision_model.\1.",
    ),
    (r"^model\.vision_tower\.", "vision_tower."),
    (r"^model\.multi_modal_projector\.", "multi_modal_projector."),
    (r"^model\.image_newline$", "image_newline"),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^model\.language_model\.(?:model\.)?", "language_model.model."),
)
_LLAVA_NEXT: _Rules = _rules(
    # The tower module wraps a tower module: LLaVA's SigLipVisionTower holds a SigLipVisionModel.
    (r"^model\.vision_tower\.vision_tower\.", "vision_tower."),
    (r"^model\.mm_projector\.0\.", "multi_modal_projector.linear_1."),
    (r"^model\.mm_projector\.2\.", "multi_modal_projector.linear_2."),
    (r"^model\.image_newline$", "image_newline"),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^model\.(embed_tokens|layers|norm)\.", r"language_model.model.\1."),
)
_FAMILIES: dict[Family, _Rules] = {
    "qwen2_vl": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen3_vl": _QWEN3,
    "llava_onevision": _ONEVISION,
}
_WRAPPER = re.compile(r"^(?:module\.)?(?:pretrained_model\.)?")


@dataclass(frozen=True)
class HeadNames:
    """The names of one form's head, and what becomes of them under `reward_head.`."""

    type: Literal["tanh", "linear"]
    tensors: dict[str, str]
    optional: frozenset[str] = frozenset()


HEADS: dict[Form, HeadNames] = {
    # MM-RLHF, llava/model/language_model/llava_qwen.py: dropout, dense, tanh, dropout, out_proj.
    "llava-qwen": HeadNames(
        "tanh",
        {
            "rm_head.dense.weight": "dense.weight",
            "rm_head.dense.bias": "dense.bias",
            "rm_head.out_proj.weight": "out.weight",
            "rm_head.out_proj.bias": "out.bias",
        },
    ),
    # transformers, modeling_layers.GenericForSequenceClassification: one matrix without a bias.
    "sequence-classification": HeadNames(
        "linear",
        {"score.weight": "out.weight", "score.bias": "out.bias"},
        optional=frozenset({"score.bias"}),
    ),
    # TRL, models/modeling_value_head.ValueHead: dropout, one matrix with a bias.
    "value-head": HeadNames(
        "linear",
        {"v_head.summary.weight": "out.weight", "v_head.summary.bias": "out.bias"},
    ),
}

_RECOMPUTED = re.compile(
    r"(rotary_emb|rotary_pos_emb)\.(inv_freq|original_inv_freq)$|position_ids$"
)
_POOLING_HEAD = re.compile(r"^vision_tower\.vision_model\.head\.")


def canonical(name: str, form: Form, family: Family) -> str:
    """The canonical name of a model's tensor; a name no rule knows comes back as it went in."""
    name = _WRAPPER.sub("", name)
    for pattern, replacement in _LLAVA_NEXT if form == "llava-qwen" else _FAMILIES[family]:
        renamed, count = pattern.subn(replacement, name)
        if count:
            return renamed
    return name


def head_name(name: str, form: Form) -> str | None:
    """The name under `reward_head.` of a head's tensor, None for all others."""
    return HEADS[form].tensors.get(_WRAPPER.sub("", name))


def dropped_because(name: str, form: Form) -> str | None:
    """Why a tensor of a source is left out although its name is known, or None."""
    if _RECOMPUTED.search(name):
        return "recomputed from the configuration"
    if form == "llava-qwen" and _POOLING_HEAD.match(name):
        return "the pooling head of SigLIP, which LLaVA-NeXT replaces by nothing"
    return None
