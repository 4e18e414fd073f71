"""Which weights are trained: all but the vision tower, the tower too, or adapters."""

from __future__ import annotations

from typing import Any

from mmreward_trainer.critique.configuration import Lora

# Projections of attention and feed-forward of the language model; a vision tower's are left alone.
_TARGETS = (
    r".*language_model\.layers\.\d+\..*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
)
_VISION = ("model.visual.", "model.vision_tower.")
_PROJECTOR = ".merger"


def freeze_vision(model: Any) -> None:
    """Freeze the vision tower; what carries its output into the language model stays trained.

    MM-RLHF trains projector and language model (its released script).
    """
    for name, parameter in model.named_parameters():
        if name.startswith(_VISION) and _PROJECTOR not in name and "deepstack" not in name:
            parameter.requires_grad_(False)


def freeze_output(model: Any) -> None:
    """Freeze the output layer of a model that learns no critiques; a tied one stays as it is."""
    output, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if output.weight is not embedding.weight:
        output.requires_grad_(False)


def with_adapters(model: Any, settings: Lora) -> Any:
    """A PEFT model: adapters in the language model, the head trained whole."""
    from peft import get_peft_model

    return get_peft_model(model, adapters(settings, modules_to_save=["reward_head"]))


def adapters(settings: Lora, **more: Any) -> Any:
    """PEFT's configuration of adapters in the language model."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or 2 * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=_TARGETS,
        **more,
    )
