"""What a run consists of before its first step: model, processor, and what turns rows into ids."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmreward_service.images import ImageLimits
from mmreward_service.reward.prompt import PromptError, PromptRenderer
from mmreward_service.reward.spec import RewardSpec
from transformers import AutoProcessor

from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.lora import freeze_vision
from mmreward_trainer.critique.media import MediaEncoder
from mmreward_trainer.critique.model import load_reward_model, media_tokens
from mmreward_trainer.critique.packing import MediaTokens
from mmreward_trainer.critique.writing import Writer
from mmreward_trainer.judge.comparisons import ComparisonBuilder
from mmreward_trainer.judge.configuration import JudgeConfig, _Stage
from mmreward_trainer.judge.encoding import ComparisonEncoder
from mmreward_trainer.judge.specification import judge_specification
from mmreward_trainer.judge.trl_import import import_trl

_DTYPES = {"float32": torch.float32, "bf16-mixed": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Parts:
    """What both stages share.

    Attributes:
        never: ids that no judgement may hold: media placeholders, and the vocabulary's padding.
    """

    spec: RewardSpec
    processor: Any
    encoder: ComparisonEncoder
    writer: Writer
    tokens: MediaTokens
    never: list[int]


def check_sizes(config: JudgeConfig) -> None:
    """Steps of every stage must be whole numbers of batches.

    Raises:
        ConfigError: one is not.
    """
    sft, rl = config.sft, config.rl
    if "sft" in config.stages and sft.pairs_per_step % (sft.pairs_per_batch * processes()):
        raise ConfigError(
            f"sft.pairs_per_step ({sft.pairs_per_step}) is no multiple of pairs_per_batch x "
            f"processes ({sft.pairs_per_batch} x {processes()})"
        )
    rollouts = rl.comparisons_per_step * rl.rollouts
    if "rl" in config.stages and rollouts % (rl.rollouts_per_batch * processes()):
        raise ConfigError(
            f"rl: comparisons_per_step x rollouts ({rl.comparisons_per_step} x {rl.rollouts}) is "
            f"no multiple of rollouts_per_batch x processes ({rl.rollouts_per_batch} x "
            f"{processes()})"
        )


def check_settings(config: JudgeConfig) -> None:
    """What can be told of all stages from the settings alone; a few seconds with `rl`.

    Raises:
        ConfigError: sizes that do not divide, or TRL or vLLM are wanted and not installed.
    """
    check_sizes(config)
    if "rl" in config.stages:
        import_trl(with_vllm=config.rl.use_vllm)


def _check_scores(config: JudgeConfig, spec: RewardSpec) -> None:
    """A composed judgement must be one that the service reads as scores."""
    if "sft" not in config.stages or spec.score_range is None:
        return
    low, high = spec.score_range
    for name in ("chosen_score", "rejected_score"):
        score = getattr(config.sft.composed, name)
        if not low <= score <= high:
            raise ConfigError(
                f"sft.composed.{name} is {score:g}, outside of the judge's score_range "
                f"{low:g} to {high:g}: the service would not read it"
            )


def prepare(config: JudgeConfig) -> Parts:
    """Everything but the model.

    Raises:
        ConfigError: a folder, template or tokenizer that cannot be used, or scores of composed
            judgements outside of the range.
    """
    from transformers import AutoConfig

    spec = judge_specification(config.model, config.judge)
    _check_scores(config, spec)
    processor = AutoProcessor.from_pretrained(config.model)
    try:
        renderer = PromptRenderer.from_checkpoint(config.model, spec)
    except PromptError as error:
        raise ConfigError(f"judge: {error}") from error
    model_config = AutoConfig.from_pretrained(config.model)
    media = MediaEncoder(
        processor,
        spec.templates,
        ImageLimits(config.data.max_image_bytes, config.data.max_image_pixels),
        takes_video_metadata=hasattr(model_config, "vision_start_token_id"),
    )
    room = spec.max_tokens("judge")
    encoder = ComparisonEncoder(
        ComparisonBuilder(renderer),
        media,
        max_tokens=config.data.max_tokens,
        room=room,
        composed=config.sft.composed,
    )
    vocabulary = model_config.get_text_config().vocab_size
    tokens = media_tokens(model_config)
    never = tokens.never_written(renderer.tokenizer_size, vocabulary)
    return Parts(
        spec=spec,
        processor=processor,
        encoder=encoder,
        writer=Writer(encoder, room, never),
        tokens=tokens,
        never=never,
    )


def load_model(config: JudgeConfig, spec: RewardSpec, folder: Path) -> Any:
    """The model of a folder, with its head if it has one; the head is not trained.

    Raises:
        ConfigError: a family that this trainer does not know, or tensors are missing.
    """
    try:
        model = load_reward_model(
            folder,
            spec.head,
            dtype=_DTYPES[config.run.precision],
            attention=config.run.attention,
            seed=config.run.seed,
        )
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    if not config.train_vision:
        freeze_vision(model)
    if model.reward_head is not None:
        model.reward_head.requires_grad_(False)
    return model


def processes() -> int:
    """Processes of this run, as its launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def arguments(config: JudgeConfig, stage: _Stage, folder: Path) -> dict[str, Any]:
    """What the arguments of both stages' Trainers have in common."""
    run = config.run
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    return {
        "output_dir": str(folder / "saves"),
        "seed": run.seed,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": stage.schedule,
        "warmup_steps": stage.warm_up_share,
        "weight_decay": stage.weight_decay,
        "adam_beta1": stage.betas[0],
        "adam_beta2": stage.betas[1],
        "max_grad_norm": stage.max_grad_norm,
        "bf16": run.precision == "bf16-mixed",
        "use_cpu": run.cpu,
        "gradient_checkpointing": run.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "save_strategy": "steps",
        "save_steps": run.save_every_steps,
        "save_total_limit": run.keep_saves,
        "eval_strategy": "no",  # `Measure` judges held-out pairs
        "logging_steps": 1,
        # A loss that is NaN must be seen: by default the Trainer hides it.
        "logging_nan_inf_filter": False,
        "report_to": ["tensorboard"],
        "remove_unused_columns": False,
        "label_names": [],
        "dataloader_num_workers": config.data.workers,
        "ddp_find_unused_parameters": config.train_vision,
    }
