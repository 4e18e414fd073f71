"""A source folder: its config and the headers of its weight files. Nothing is unpickled.

Weights are read from safetensors alone. A `.bin` or `.pt` file is a pickle, and reading one runs
whatever its author wrote into it; such a folder is refused, with the way out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_service.check.headers import HeaderError, TensorEntry, read_folder, read_header

from mmreward_trainer.importing.refusal import ImportRefused

VALUE_HEAD_FILE = "value_head.safetensors"
"""Where LLaMA-Factory and ms-swift put a value head, beside the shards of the model."""

_PICKLE_PATTERNS = (
    "pytorch_model*.bin",
    "model*.bin",
    "value_head.bin",
    "mm_projector.bin",
    "non_lora_trainables.bin",
    "*.pt",
    "*.pth",
)


@dataclass(frozen=True)
class Source:
    """A checkpoint as it was found. `tensors` are in the order of their files and places."""

    folder: Path
    config: dict[str, Any]
    tensors: list[TensorEntry]

    @property
    def files(self) -> list[Path]:
        return list(dict.fromkeys(entry.file for entry in self.tensors))


def open_source(folder: Path) -> Source:
    """Read config and headers.

    Raises:
        ImportRefused: not a checkpoint, adapters that were never merged, pickles, broken files.
    """
    path = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        raise ImportRefused(
            f"{folder} holds an adapter, not a model: merge it into its base model first "
            "(peft: `merge_and_unload()`, then `save_pretrained`)"
        )
    if not path.is_file():
        raise ImportRefused(f"{path} does not exist: not a checkpoint folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ImportRefused(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ImportRefused(f"{path} does not hold an object")
    entries, problems = read_folder(folder)
    if problems and not entries and (pickles := _pickles(folder)):
        raise ImportRefused(
            f"{folder} has its weights in {', '.join(pickles)}: a pickle runs code when it is "
            "read, so it is not. Load the model where you trust it, and save it with "
            "`save_pretrained(folder, safe_serialization=True)`"
        )
    if problems:
        raise ImportRefused(*problems)
    entries += _value_head(folder)
    return Source(folder, config, entries)


def _value_head(folder: Path) -> list[TensorEntry]:
    file = folder / VALUE_HEAD_FILE
    if file.is_file():
        try:
            return read_header(file)
        except HeaderError as error:
            raise ImportRefused(str(error)) from error
    if (folder / "value_head.bin").is_file():
        raise ImportRefused(
            f"{folder / 'value_head.bin'} is a pickle: save the value head as {VALUE_HEAD_FILE}"
        )
    return []


def _pickles(folder: Path) -> list[str]:
    return sorted({file.name for pattern in _PICKLE_PATTERNS for file in folder.glob(pattern)})
