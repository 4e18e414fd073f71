"""Resuming a Trainer of transformers: tensors under their published names, and no step too many."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback


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


def train_from(trainer: Any, save: Path | None) -> None:
    """Train to the end, from a save if there is one.

    A run that was stopped after its last step, in its export, has a save of that step. The Trainer
    (transformers 5.19) looks for its end after a step only, and would train one more.
    """
    trainer.add_callback(_NothingLeft())
    with suppress(_AtTheEnd):
        trainer.train(resume_from_checkpoint=None if save is None else str(save))


class _AtTheEnd(Exception):
    """The save is of the last step."""


class _NothingLeft(TrainerCallback):  # type: ignore[misc]
    """Called when weights and state are loaded, and no step is done."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        if state.global_step >= state.max_steps:
            raise _AtTheEnd
