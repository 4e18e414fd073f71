"""The tensors that a model must have, by its configuration: built on the meta device, no memory."""

from __future__ import annotations

from typing import Any

from mmreward_trainer.importing.names import Family, canonical

ARCHITECTURES: dict[Family, str] = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "llava_onevision": "LlavaOnevisionForConditionalGeneration",
}
OUTPUT_LAYER: dict[Family, str] = {
    "qwen2_vl": "lm_head.weight",
    "qwen2_5_vl": "lm_head.weight",
    "qwen3_vl": "lm_head.weight",
    "llava_onevision": "language_model.lm_head.weight",
}
EMBEDDING: dict[Family, str] = {
    "qwen2_vl": "model.embed_tokens.weight",
    "qwen2_5_vl": "model.embed_tokens.weight",
    "qwen3_vl": "model.language_model.embed_tokens.weight",
    "llava_onevision": "language_model.model.embed_tokens.weight",
}


def expected_shapes(config: dict[str, Any], family: Family) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of every tensor of the model that this config.json describes.

    The output layer is left out where it is tied to the embedding.
    """
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    known = {name: value for name, value in config.items() if name != "reward"}
    model_config = CONFIG_MAPPING[family].from_dict(known)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(model_config)
    shapes = {
        # The classes of transformers name their tensors alike in all forms.
        canonical(name, "value-head", family): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
    }
    if getattr(model_config.get_text_config(), "tie_word_embeddings", False) or getattr(
        model_config, "tie_word_embeddings", False
    ):
        shapes.pop(OUTPUT_LAYER[family], None)
    return shapes
