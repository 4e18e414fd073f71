"""Resuming a Trainer of transformers from a save whose tensors have their published names."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel


class ResumesByName:
    """Mixin in front of a Trainer: weights of a save are found by the names they were saved under.

    A sharded model, or one that is not transformers' own, is left to the Trainer, whose saves of
    those hold the names of the modules.
    """

    model: Any
    is_fsdp_enabled: bool
    is_deepspeed_enabled: bool

    @property
    def is_sharded(self) -> bool:
        """Whether weights lie in parts on several processes, which then must run in step."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target = self.model if model is None else model
        if isinstance(target, PreTrainedModel) and not self.is_sharded:
            load_weights(target, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]


def load_weights(model: Any, save: str) -> None:
    """Weights of a save into a model, by the names they were saved under.

    `save_pretrained` writes the names that a family is published with, and the Trainer looks for
    those of the modules, finds none and goes on with the base model's weights, without an error
    (transformers 5.19). `from_pretrained` knows both.

    Raises:
        RuntimeError: the save lacks a weight.
    """
    loaded, report = type(model).from_pretrained(save, dtype=model.dtype, output_loading_info=True)
    if report["missing_keys"]:
        raise RuntimeError(f"{save} lacks {sorted(report['missing_keys'])[:5]}")
    model.load_state_dict(loaded.state_dict())
