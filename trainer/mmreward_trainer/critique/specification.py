"""The reward object of a run: from the model folder where it has one, changed by the settings."""

from __future__ import annotations

from pathlib import Path

import mmreward_service
from mmreward_service.reward.checkpoint import (
    CheckpointError,
    load_spec,
    read_config,
    text_setting,
    tokenizer_size,
)
from mmreward_service.reward.spec import HeadSpec, RewardSpec

from mmreward_trainer.critique.configuration import ConfigError, Reward
from mmreward_trainer.critique.templates import default_templates, read_templates

MAX_CRITIQUE_TOKENS = 1024


def specification(model: Path, reward: Reward) -> RewardSpec:
    """What the trained checkpoint's reward object says, before rows and calibration are known.

    Raises:
        ConfigError: the folder is no checkpoint, or its vocabulary has no free column.
    """
    try:
        config = read_config(model)
        old = load_spec(model) if "reward" in config else None
        slot = old.score_slot if old is not None else _free_slot(model)
    except CheckpointError as error:
        raise ConfigError(f"model: {error}") from error
    if reward.templates is not None:
        templates = read_templates(reward.templates)
    else:
        templates = default_templates(config["model_type"]) if old is None else old.templates
    if reward.head is not None or old is None:
        head = HeadSpec(type=reward.head or "tanh", inner_size=reward.inner_size)
    else:
        head = old.head
    return RewardSpec(
        kinds=["critique"],
        head=head,
        read_out=reward.read_out or (old.read_out if old else "last_critique_token"),
        score_slot=slot,
        templates=templates,
        max_critique_tokens=reward.max_critique_tokens
        or (old.max_critique_tokens if old else MAX_CRITIQUE_TOKENS),
        trainer_version=mmreward_service.__version__,
    )


def _free_slot(model: Path) -> int:
    """The last column of the vocabulary, which a padded vocabulary leaves free."""
    slot = text_setting(read_config(model), "vocab_size") - 1
    if slot < tokenizer_size(model):
        raise ConfigError(
            f"model: the tokenizer of {model} uses the whole vocabulary: no column is free for "
            "the score; enlarge the embeddings by a few rows first"
        )
    return slot
