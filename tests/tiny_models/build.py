"""Writes a complete tiny reward checkpoint: model, processor, reward object and head.

The weights are random but not arbitrary: some tokens make end-of-turn the likeliest next token, so
that critiques of a few tokens end by themselves, at temperature 0 as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from mmreward_service.reward.checkpoint import write_reward
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.spec import HeadSpec, ReadOut, RewardSpec, Templates
from transformers import PreTrainedTokenizerFast

from tiny_models import architectures
from tiny_models.tokenizer import tiny_tokenizer

Family = Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision"]

FAMILIES: dict[Family, Callable[[PreTrainedTokenizerFast], tuple[Any, Any]]] = {
    "qwen2_vl": architectures.qwen2_vl,
    "qwen2_5_vl": architectures.qwen2_5_vl,
    "qwen3_vl": architectures.qwen3_vl,
    "llava_onevision": architectures.llava_onevision,
}

SCORE_SLOT = 500


@dataclass(frozen=True)
class TinyOptions:
    """What a test may want to be different.

    `head_bias` forces every score to one value (a weight of zero and this bias), NaN included;
    `ending` says when a critique ends: after some tokens, before the first, or never.
    """

    seed: int = 0
    head_type: Literal["tanh", "silu", "linear"] = "tanh"
    read_out: ReadOut = "last_critique_token"
    head_bias: float | None = None
    ending: Literal["some", "at_once", "never"] = "some"
    score_slot: int = SCORE_SLOT
    max_critique_tokens: int = 64


def build_tiny_checkpoint(
    folder: Path, family: Family, options: TinyOptions | None = None
) -> RewardSpec:
    """Write a checkpoint of this family into `folder` (about 2 MB) and return its reward object."""
    options = options or TinyOptions()
    head = _save_model(folder, family, options)
    spec = RewardSpec(
        kinds=["critique"],
        head=HeadSpec(type=options.head_type),
        read_out=options.read_out,
        score_slot=options.score_slot,
        templates=_templates(family),
        max_critique_tokens=options.max_critique_tokens,
        trainer_version="tiny",
    )
    write_reward(folder, spec, head)
    return spec


def build_tiny_stock(folder: Path, family: Family, options: TinyOptions | None = None) -> None:
    """Write the model alone, without head and reward object, as anybody's instruct model is."""
    _save_model(folder, family, options or TinyOptions())


def _save_model(folder: Path, family: Family, options: TinyOptions) -> RewardHead:
    """Write model and processor; returns the head that goes with this seed."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model, processor = FAMILIES[family](tokenizer)
        _set_ending(model, tokenizer, options)
        head = _make_head(options)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return head


def _templates(family: Family) -> Templates:
    if family == "llava_onevision":
        image, video = "<image>\n", "<video>\n"
    else:
        image = "<|vision_start|><|image_pad|><|vision_end|>"
        video = "<|vision_start|><|video_pad|><|vision_end|>"
    before = (
        "<|im_start|>user\n{media}Question: {prompt}\nAnswer: {response}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    return Templates(
        critique=before,
        none=before + "Score:",
        image=image,
        video=video,
        end_of_turn="<|im_end|>",
        after_turn="<|im_end|>\n",
    )


def _make_head(options: TinyOptions) -> RewardHead:
    head = RewardHead(architectures.HIDDEN, HeadSpec(type=options.head_type))
    if options.head_bias is not None:
        with torch.no_grad():
            head.out.weight.zero_()
            head.out.bias.fill_(options.head_bias)
    return head


def _set_ending(model: Any, tokenizer: PreTrainedTokenizerFast, options: TinyOptions) -> None:
    """Point the end-of-turn row of the output layer at the embeddings of the closing tokens."""
    embed = model.get_input_embeddings().weight
    output = model.get_output_embeddings().weight
    end_of_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    specials = [i for i in tokenizer.all_special_ids if i != end_of_turn]
    newline = tokenizer.convert_tokens_to_ids("Ċ")
    with torch.no_grad():
        # Embeddings as large as what the layers add, or the last token would decide alone.
        embed.normal_(0.0, 1.0)
        output.normal_(0.0, 2.0 / math.sqrt(embed.shape[1]))
        # The other special tokens never lead, so that a critique is text.
        output[specials] = 0.0
        output[end_of_turn] = 0.0
        closing = {
            "some": [i for i in range(newline + 1) if i % 6 == 0 and i != newline],
            "at_once": [newline],
            "never": [],
        }[options.ending]
        if closing:
            direction = embed[closing].sum(0)
            output[end_of_turn] = direction * (8.0 / direction.norm())
