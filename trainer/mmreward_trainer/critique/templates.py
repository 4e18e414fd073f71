"""Prompt texts for a base model that brings none, in our own words, by family.

The picture comes first and the answer last, so that both answers of a pair share the beginning.
All four families write turns in ChatML.
"""

from __future__ import annotations

from pathlib import Path

from mmreward_client.schema import describe
from mmreward_service.reward.spec import Templates
from pydantic import ValidationError

from mmreward_trainer.critique.configuration import ConfigError

_CRITIQUE = (
    "<|im_start|>user\n{media}You are reviewing an answer to a question about what is shown above. "
    "Compare the answer with what can be seen and with what was asked. Say what is right in it and "
    "what is wrong, made up or missing, then how good it is on the whole.\n\n"
    "Question: {prompt}\n\nAnswer: {response}<|im_end|>\n<|im_start|>assistant\n"
)
_PLACEHOLDERS = {
    "qwen2_vl": ("<|vision_start|><|image_pad|><|vision_end|>",) * 1
    + ("<|vision_start|><|video_pad|><|vision_end|>",),
    "llava_onevision": ("<image>\n", "<video>\n"),
}
_PLACEHOLDERS |= dict.fromkeys(("qwen2_5_vl", "qwen3_vl"), _PLACEHOLDERS["qwen2_vl"])


def default_templates(model_type: str) -> Templates:
    """Templates of a family.

    Raises:
        ConfigError: a family without defaults.
    """
    if model_type not in _PLACEHOLDERS:
        raise ConfigError(
            f"no default templates for model type {model_type!r} "
            f"(there are for {', '.join(_PLACEHOLDERS)}): give reward.templates"
        )
    image, video = _PLACEHOLDERS[model_type]
    return Templates(
        critique=_CRITIQUE,
        image=image,
        video=video,
        end_of_turn="<|im_end|>",
        after_turn="<|im_end|>\n",
    )


def read_templates(file: Path) -> Templates:
    """Templates of a JSON file.

    Raises:
        ConfigError: the file cannot be read, or a template lacks a placeholder.
    """
    try:
        return Templates.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"reward.templates: {file}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigError(f"reward.templates: {file}: {describe(error)}") from error
