"""The tokenizer and processor of an import, built from the source's own files by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmreward_trainer.importing import llava_next
from mmreward_trainer.importing.names import Form
from mmreward_trainer.importing.refusal import ImportRefused


def load_tokenizer(folder: Path, form: Form) -> Any:
    """The source's tokenizer, with LLaVA's two placeholders where the form lacks them.

    LLaVA-NeXT writes a picture as id -200, outside of the tokenizer; transformers needs a token.
    """
    from transformers import AutoTokenizer, Qwen2TokenizerFast

    if form != "llava-qwen":
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ImportRefused(f"{folder} has neither tokenizer.json nor vocab.json")
    # The class is named outright: `llava_qwen` is no model type that transformers would know.
    tokenizer = Qwen2TokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer.add_tokens([llava_next.IMAGE_TOKEN, llava_next.VIDEO_TOKEN], special_tokens=True)
    return tokenizer


def size_of(tokenizer: Any) -> int:
    """One more than the largest token id in use."""
    return int(max(tokenizer.get_vocab().values())) + 1


def build_processor(folder: Path, form: Form, tokenizer: Any, config: dict[str, Any]) -> Any:
    """The processor that is written beside the model.

    Raises:
        ImportRefused: the folder has none.
    """
    if form == "llava-qwen":
        return _onevision_processor(tokenizer, config)
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ImportRefused(
            f"{folder} has no processor that transformers can load ({error}): copy the "
            "preprocessor files of the base model into it"
        ) from error


def tokenizer_json(tokenizer: Any) -> str:
    """The tokenizer as the text of tokenizer.json."""
    text: str = tokenizer.backend_tokenizer.to_str()
    json.loads(text)
    return text


def _onevision_processor(tokenizer: Any, config: dict[str, Any]) -> Any:
    from transformers import (
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    vision = config["vision_config"]
    arguments = llava_next.image_processing(vision, config["image_grid_pinpoints"])
    frames = {name: arguments[name] for name in ("size", "image_mean", "image_std", "resample")}
    side = int(vision["image_size"]) // int(vision["patch_size"])
    return LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(**arguments),
        tokenizer,
        LlavaOnevisionVideoProcessor(**frames),
        num_image_tokens=side**2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=config["vision_aspect_ratio"],
    )
