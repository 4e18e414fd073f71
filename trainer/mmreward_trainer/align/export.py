"""A save of the trainer -> a plain Hugging Face folder of the policy; adapters are merged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def export_policy(save: Path, base: Path, output: Path, *, dtype: str, processor: Any) -> None:
    """Write model and processor.

    Args:
        save: what `save_model` wrote: whole weights, or adapters for `base`.
    """
    is_adapter = (save / "adapter_config.json").is_file()
    model = AutoModelForImageTextToText.from_pretrained(
        base if is_adapter else save, dtype=torch.float32
    )
    if is_adapter:
        from peft import PeftModel

        # Merged in float32: in 16 bits the small product of two adapters is mostly rounding.
        model = PeftModel.from_pretrained(model, save).merge_and_unload()
    model = model.to(_DTYPES[dtype])
    # A policy that began as a reward model is none any more: its templates and calibration go.
    if hasattr(model.config, "reward"):
        del model.config.reward
    output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(output)
    processor.save_pretrained(output)
    # Byte by byte: saved again it may read the same but differ.
    if (base / "tokenizer.json").is_file():
        shutil.copyfile(base / "tokenizer.json", output / "tokenizer.json")
