"""The configuration of a LLaVA-NeXT checkpoint (`llava_qwen`) in the terms of LLaVA-OneVision.

LLaVA-NeXT keeps the language model's settings at the top of its config.json, names its vision tower
and describes it nowhere, and stores resolutions as (width, height) where transformers wants them
the other way round. Only what transformers' class computes is accepted: SigLIP with features before
the last norm, a projector of two layers, pictures cut by `anyres_max_9` and merged by
`spatial_unpad`.
"""

from __future__ import annotations

import re
from typing import Any

from mmreward_trainer.importing.refusal import ImportRefused

IMAGE_TOKEN = "<image>"
VIDEO_TOKEN = "<video>"

# Of google/siglip-so400m-patch14-384, whose 27th layer LLaVA-NeXT deletes after loading.
KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "google/siglip-so400m-patch14-384": {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 26,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    }
}
_TEXT_SETTINGS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
)
_REQUIRED = {
    "mm_projector_type": "mlp2x_gelu",
    "mm_patch_merge_type": "spatial_unpad",
    # vLLM (0.32) has the 9 in its code and does not read the setting.
    "image_aspect_ratio": "anyres_max_9",
}
_RANGE = re.compile(r"^\((\d+)x(\d+)\),\.\.\.,\((\d+)x(\d+)\)$")
_LIST = re.compile(r"\((\d+)[x,](\d+)\)")


def onevision_config(
    config: dict[str, Any], tower: dict[str, Any] | None, image_token: int, video_token: int
) -> dict[str, Any]:
    """config.json of the imported model.

    Args:
        config: the source's config.json.
        tower: settings of a SigLIP tower that is not among `KNOWN_TOWERS`.
        image_token, video_token: ids of the placeholders that the import gives the tokenizer.
    Raises:
        ImportRefused: naming every setting that transformers' class cannot reproduce.
    """
    _refuse_other_ways(config)
    vision = vision_config(config, tower)
    text: dict[str, Any] = {name: config[name] for name in _TEXT_SETTINGS if name in config}
    missing = [name for name in ("vocab_size", "hidden_size") if name not in text]
    if missing:
        raise ImportRefused(*(f"config.json has no {name}" for name in missing))
    text["model_type"] = "qwen2"
    rope = {"rope_type": "default", "rope_theta": float(config.get("rope_theta", 10000.0))}
    text["rope_parameters"] = rope
    from transformers import LlavaOnevisionConfig

    built = LlavaOnevisionConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=image_token,
        video_token_index=video_token,
        image_grid_pinpoints=pinpoints(config, int(vision["image_size"])),
        vision_aspect_ratio=config["image_aspect_ratio"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
    )
    described: dict[str, Any] = built.to_dict()
    described["dtype"] = config.get("dtype") or config.get("torch_dtype")
    return described


def vision_config(config: dict[str, Any], tower: dict[str, Any] | None) -> dict[str, Any]:
    """Settings of the SigLIP tower: those given, or those of a known name."""
    name = str(config.get("mm_vision_tower"))
    # A model trained from a local copy names a path: its last part is the name.
    known = {one.rsplit("/", 1)[-1]: settings for one, settings in KNOWN_TOWERS.items()}
    settings = tower or known.get(name.rstrip("/").rsplit("/", 1)[-1])
    if settings is None:
        raise ImportRefused(
            f"the vision tower {name} is not described in config.json and not known here: give its "
            f"settings with --vision-config (known: {', '.join(KNOWN_TOWERS)})"
        )
    return {**settings, "model_type": "siglip_vision_model", "vision_use_head": False}


def pinpoints(config: dict[str, Any], tile: int) -> list[list[int]]:
    """Resolutions as [height, width], from a list of [width, height] or from "(1x1),...,(6x6)"."""
    value = config.get("image_grid_pinpoints")
    if isinstance(value, list):
        return [[int(height), int(width)] for width, height in value]
    text = str(value).replace(" ", "")
    if found := _RANGE.match(text):
        low, _, high, _ = map(int, found.groups())
        sides = range(low, high + 1)
        return [[height * tile, width * tile] for width in sides for height in sides]
    if pairs := _LIST.findall(text):
        return [[int(height) * tile, int(width) * tile] for width, height in pairs]
    raise ImportRefused(f"image_grid_pinpoints {value!r} cannot be read")


def notes(config: dict[str, Any]) -> list[str]:
    """What differs from the source where it matters to some users: videos."""
    found = []
    if config.get("mm_newline_position", "one_token") != "one_token":
        found.append("videos: mm_newline_position is not one_token, their scores will differ")
    if config.get("mm_spatial_pool_mode", "bilinear") != "bilinear":
        found.append("videos: mm_spatial_pool_mode is not bilinear, their scores will differ")
    return found


def image_processing(vision: dict[str, Any], grid: list[list[int]]) -> dict[str, Any]:
    """Arguments of transformers' image processor that do what LLaVA-NeXT does with SigLIP."""
    side = int(vision["image_size"])
    return {
        "size": {"height": side, "width": side},
        "image_grid_pinpoints": grid,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
    }


def _refuse_other_ways(config: dict[str, Any]) -> None:
    reasons = [
        f"{name} is {config.get(name)!r}, and only {wanted!r} can be served"
        for name, wanted in _REQUIRED.items()
        if config.get(name) != wanted
    ]
    if config.get("add_faster_video"):
        reasons.append("add_faster_video adds tokens that transformers' class does not have")
    if config.get("use_pos_skipping"):
        reasons.append("use_pos_skipping moves positions, which transformers' class does not do")
    if config.get("rope_scaling"):
        reasons.append("rope_scaling is set; LLaVA-NeXT itself ignores it, so it must be removed")
    if reasons:
        raise ImportRefused(*reasons)
