"""The bundled model: Qwen2.5-VL's architecture at about a million parameters, and its processor.

`rope_theta` is 20: at the usual 1e6 the angles of neighbouring rows and columns are almost equal
and the model never learns where in a mosaic a digit is.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mmreward_service.reward.spec import HeadSpec
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from mmreward_trainer.digits.tokenizer import TOKENIZER_SIZE, VOCABULARY_SIZE

ROPE_THETA = 20.0
HIDDEN_SIZE = 128
HEAD = HeadSpec(type="tanh", inner_size=64)
PATCH = 14
MAX_POSITIONS = 512
# 28x28 is one digit, 56x56 a mosaic of four: larger pictures are shrunk to what it was trained on.
_PIXELS = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
_GREY = [0.5, 0.5, 0.5]


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    """A model with fresh weights, drawn from torch's global generator."""
    ids = tokenizer.convert_tokens_to_ids
    special = {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY_SIZE,
            "hidden_size": HIDDEN_SIZE,
            "intermediate_size": 320,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": MAX_POSITIONS,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROPE_THETA,
                "mrope_section": [4, 6, 6],
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "out_hidden_size": HIDDEN_SIZE,
            "fullatt_block_indexes": [0, 1],
        },
        tie_word_embeddings=True,
        **special,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    _widen(model.model.visual)
    model.generation_config.eos_token_id = ids("<|im_end|>")
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    return model


def _widen(visual: torch.nn.Module) -> None:
    """Draw the tower's matrices with variance 1 / inputs: at 0.02 its first steps lead nowhere."""
    for parameter in visual.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, 0.0, parameter[0].numel() ** -0.5)


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    """The processor saved beside the model: 28x28 and 56x56 pictures pass unresized."""
    return Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=_PIXELS, image_mean=_GREY, image_std=_GREY, patch_size=PATCH),
        tokenizer,
        Qwen2VLVideoProcessor(size=_PIXELS, image_mean=_GREY, image_std=_GREY, patch_size=PATCH),
    )


def save_model(
    folder: Path, model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Write config, weights, tokenizer and processor, and read back what is easily lost."""
    model.save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    check_saved(folder)


def check_saved(folder: Path) -> None:
    """Raise if the saved files lost the rope base or the size of the tokenizer."""
    from transformers import AutoConfig, AutoTokenizer

    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    written = raw["text_config"]["rope_parameters"]["rope_theta"]
    loaded = AutoConfig.from_pretrained(folder).text_config.rope_parameters["rope_theta"]
    if written != ROPE_THETA or loaded != ROPE_THETA:
        raise ValueError(f"rope_theta is {written} in the file and {loaded} when loaded")
    length = len(AutoTokenizer.from_pretrained(folder))
    if length != TOKENIZER_SIZE:
        raise ValueError(f"the saved tokenizer loads with {length} ids, not {TOKENIZER_SIZE}")
