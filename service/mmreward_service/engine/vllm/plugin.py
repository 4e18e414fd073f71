"""What vLLM's plug-in loader calls in each of its processes: our architectures, by name.

The names are our own, so that a stock checkpoint loads its stock class in the same process; an
engine picks ours through `hf_overrides`. Classes are named as strings and imported when a model is
built: this runs in processes that will never need them.
"""

from __future__ import annotations

import importlib

_CLASSES = "mmreward_service.engine.vllm.architectures"

ARCHITECTURES = {
    "Qwen2VLForConditionalGeneration": "MMRewardQwen2VL",
    "Qwen2_5_VLForConditionalGeneration": "MMRewardQwen2_5_VL",
    "Qwen3VLForConditionalGeneration": "MMRewardQwen3VL",
    "LlavaOnevisionForConditionalGeneration": "MMRewardLlavaOnevision",
}
"""Architecture of a checkpoint's config.json -> ours, with a reward head and a score slot."""

WITHOUT_HEAD = {"LlavaOnevisionForConditionalGeneration": "MMRewardPlainLlavaOnevision"}
"""The same for a judge alone, where vLLM's own class cannot read every folder."""


def register() -> None:
    """Add our architectures to vLLM's registry; may be called any number of times."""
    from vllm import ModelRegistry

    for name in (*ARCHITECTURES.values(), *WITHOUT_HEAD.values()):
        ModelRegistry.register_model(name, f"{_CLASSES}:{name}")


def register_class(name: str) -> None:
    """Register one of our classes itself, importing it here and now.

    A class known by its string alone is examined by vLLM in a subprocess, which costs a start many
    seconds, and the findings are kept under a checksum of our few lines, not of vLLM's class, so
    that they would outlive an upgrade of vLLM.
    """
    from vllm import ModelRegistry

    ModelRegistry.register_model(name, getattr(importlib.import_module(_CLASSES), name))
