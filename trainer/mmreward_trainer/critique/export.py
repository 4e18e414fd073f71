"""A save of the Trainer -> a checkpoint folder that the service takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from mmreward_service.reward.checkpoint import write_reward, write_spec
from mmreward_service.reward.spec import RewardSpec

from mmreward_trainer.critique.model import load_reward_model

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
ADAPTER_FILE = "adapter_config.json"


def export_checkpoint(
    save: Path, base: Path, output: Path, spec: RewardSpec, *, dtype: str, processor: Any
) -> None:
    """Write a folder with model, head, processor and reward object; adapters are merged.

    Args:
        save: what `Trainer.save_model` wrote: whole weights, or adapters for `base`.
        dtype: of the weights; the head stays float32.
    """
    is_adapter = (save / ADAPTER_FILE).is_file()
    model = load_reward_model(base if is_adapter else save, spec.head, dtype=torch.float32)
    if is_adapter:
        from peft import PeftModel

        # Merged in float32: in 16 bits the small product of two adapters is mostly rounding.
        model = PeftModel.from_pretrained(model, save).merge_and_unload()
    head = None if spec.head is None else model.reward_head.float().eval()
    # `write_reward` puts the head into the last file; here it would be there twice.
    del model.reward_head
    model = model.to(_DTYPES[dtype])
    output.mkdir(parents=True, exist_ok=True)
    # The base's own reward object, calibration and all, is not the new model's.
    if hasattr(model.config, "reward"):
        del model.config.reward
    model.save_pretrained(output)
    processor.save_pretrained(output)
    _keep_tokenizer(base, output)
    if head is None:
        write_spec(output, spec)
    else:
        write_reward(output, spec, head)


def _keep_tokenizer(base: Path, output: Path) -> None:
    """The base's tokenizer.json, byte by byte: saved again it may read the same but differ."""
    if (base / "tokenizer.json").is_file():
        shutil.copyfile(base / "tokenizer.json", output / "tokenizer.json")
