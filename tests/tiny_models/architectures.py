"""Configurations and processors of the four families, as small as vLLM's CPU backend allows.

The backend refuses attention heads below 32, so the language models have 4 heads of 32. Weights
are drawn wider than usual: with the stock 0.02 a picture would move a score of so small a model by
less than rounding.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

HIDDEN = 128
VOCAB_SIZE = 512
MAX_POSITIONS = 4096
SPREAD = 0.08

_TEXT: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": HIDDEN,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": MAX_POSITIONS,
    "initializer_range": SPREAD,
    "tie_word_embeddings": False,
}
_PIXELS = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 64}
_PIXELS_16 = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 64}


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    ids = tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def _eos(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
    }


def _mrope(section: list[int], **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": section, **more}


def qwen2_vl(tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    """(model, processor)"""
    config = Qwen2VLConfig(
        text_config={**_TEXT, **_eos(tokenizer), "rope_parameters": _mrope([4, 6, 6])},
        vision_config={
            "depth": 2,
            "embed_dim": 64,
            "num_heads": 2,
            "mlp_ratio": 2,
            "hidden_size": HIDDEN,
            "patch_size": 14,
            "initializer_range": SPREAD,
        },
        **_token_ids(tokenizer),
        tie_word_embeddings=False,
    )
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=_PIXELS), tokenizer, Qwen2VLVideoProcessor(size=_PIXELS)
    )
    return Qwen2VLForConditionalGeneration(config), processor


def qwen2_5_vl(tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    """(model, processor)"""
    config = Qwen2_5_VLConfig(
        text_config={**_TEXT, **_eos(tokenizer), "rope_parameters": _mrope([4, 6, 6])},
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "out_hidden_size": HIDDEN,
            "tokens_per_second": 2,
            "initializer_range": SPREAD,
        },
        **_token_ids(tokenizer),
        tie_word_embeddings=False,
    )
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=_PIXELS), tokenizer, Qwen2VLVideoProcessor(size=_PIXELS)
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl(tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    """(model, processor)"""
    config = Qwen3VLConfig(
        text_config={
            **_TEXT,
            **_eos(tokenizer),
            "head_dim": 32,
            "rope_parameters": _mrope([6, 5, 5], mrope_interleaved=True),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "patch_size": 16,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
            "initializer_range": SPREAD,
        },
        **_token_ids(tokenizer),
        tie_word_embeddings=False,
    )
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(
            size=_PIXELS_16,
            patch_size=16,
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer,
        Qwen3VLVideoProcessor(size=_PIXELS_16, patch_size=16),
    )
    return Qwen3VLForConditionalGeneration(config), processor


def llava_onevision(tokenizer: PreTrainedTokenizerFast) -> tuple[Any, Any]:
    """(model, processor)"""
    side = 56
    grid = [[side, side], [side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    config = LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2",
            **_TEXT,
            **_eos(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 14,
            "image_size": side,
            "vision_use_head": False,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
        vision_aspect_ratio="anyres_max_4",
        tie_word_embeddings=False,
    )
    size = {"height": side, "width": side}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(side // 14) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",
    )
    return LlavaOnevisionForConditionalGeneration(config), processor
