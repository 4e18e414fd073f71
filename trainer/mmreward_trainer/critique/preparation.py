"""What a run consists of before its first step: model, processor, and the Trainer around them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmreward_service.images import ImageLimits
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec
from transformers import AutoProcessor, TrainerCallback, TrainingArguments

from mmreward_trainer.critique.configuration import ConfigError, CritiqueConfig
from mmreward_trainer.critique.encoding import PairEncoder
from mmreward_trainer.critique.lora import freeze_output, freeze_vision, with_adapters
from mmreward_trainer.critique.media import MediaEncoder
from mmreward_trainer.critique.model import (
    can_share_prompt,
    load_reward_model,
    media_tokens,
    rope_index,
)
from mmreward_trainer.critique.packing import Packer
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.critique.sequences import SequenceBuilder
from mmreward_trainer.critique.specification import specification
from mmreward_trainer.critique.trainer import CritiqueTrainer
from mmreward_trainer.critique.validation import Judge
from mmreward_trainer.critique.writing import Writer

_DTYPES = {"float32": torch.float32, "bf16-mixed": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Parts:
    """What a run consists of, before its first step."""

    spec: RewardSpec
    processor: Any
    model: Any
    encoder: PairEncoder
    packer: Packer
    writer: Writer


def prepare(config: CritiqueConfig) -> Parts:
    """Model, processor and the machinery around them."""
    spec = specification(config.model, config.reward)
    processor = AutoProcessor.from_pretrained(config.model)
    try:
        model = load_reward_model(
            config.model,
            spec.head,
            dtype=_DTYPES[config.run.precision],
            attention=config.run.attention,
            seed=config.run.seed,
        )
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    if not config.train_vision:
        freeze_vision(model)
    if config.loss.critique == 0:
        freeze_output(model)
    renderer = PromptRenderer.from_checkpoint(config.model, spec)
    media = MediaEncoder(
        processor,
        spec.templates,
        ImageLimits(config.data.max_image_bytes, config.data.max_image_pixels),
        takes_video_metadata=hasattr(model.config, "vision_start_token_id"),
    )
    encoder = PairEncoder(
        SequenceBuilder(renderer),
        media,
        max_tokens=config.data.max_tokens,
        with_critiques=config.loss.critique > 0,
    )
    rope, sizes = rope_index(model)
    tokens = media_tokens(model.config)
    packer = Packer(
        tokens,
        renderer.end_of_turn_id,
        rope_index=rope,
        rope_arguments=sizes,
        share=config.run.share_prompt and can_share_prompt(model),
    )
    never = tokens.never_written(renderer.tokenizer_size, model.config.get_text_config().vocab_size)
    writer = Writer(encoder, spec.max_critique_tokens, never)
    if config.lora is not None:
        model = with_adapters(model, config.lora)
    return Parts(spec, processor, model, encoder, packer, writer)


def make_trainer(
    config: CritiqueConfig,
    parts: Parts,
    train: Rows,
    validation: Rows | None,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> CritiqueTrainer:
    """The Trainer of a run."""
    judge = None
    if validation is not None:
        judge = Judge(
            parts.encoder,
            parts.packer,
            parts.writer,
            validation.table,
            config.run.validation_pairs,
            config.optimisation.pairs_per_batch,
            with_critiques=config.loss.critique > 0,
        )
    return CritiqueTrainer(
        settings=config,
        encoder=parts.encoder,
        packer=parts.packer,
        writer=parts.writer,
        judge=judge,
        model=parts.model,
        args=_arguments(config, folder, validates=judge is not None),
        train_dataset=train.table,
        # The Trainer asks for one where it validates; the judge has its own.
        eval_dataset=None if validation is None else validation.table,
        callbacks=callbacks,
    )


def _arguments(config: CritiqueConfig, folder: Path, *, validates: bool) -> TrainingArguments:
    optimisation, run = config.optimisation, config.run
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = optimisation.pairs_per_batch * processes
    if optimisation.pairs_per_step % at_once:
        raise ConfigError(
            f"optimisation.pairs_per_step ({optimisation.pairs_per_step}) is no multiple of "
            f"pairs_per_batch x processes ({optimisation.pairs_per_batch} x {processes})"
        )
    validating = validates and run.validate_every_steps is not None
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    return TrainingArguments(
        output_dir=str(folder / "saves"),
        seed=run.seed,
        num_train_epochs=optimisation.epochs,
        max_steps=optimisation.max_steps or -1,
        per_device_train_batch_size=optimisation.pairs_per_batch,
        gradient_accumulation_steps=optimisation.pairs_per_step // at_once,
        learning_rate=optimisation.learning_rate,
        lr_scheduler_type=optimisation.schedule,
        warmup_steps=optimisation.warm_up_share,
        weight_decay=optimisation.weight_decay,
        adam_beta1=optimisation.betas[0],
        adam_beta2=optimisation.betas[1],
        max_grad_norm=optimisation.max_grad_norm,
        bf16=run.precision == "bf16-mixed",
        use_cpu=run.cpu,
        gradient_checkpointing=run.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=run.save_every_steps,
        save_total_limit=run.keep_saves,
        eval_strategy="steps" if validating else "no",
        eval_steps=run.validate_every_steps if validating else None,
        logging_steps=1,
        # A loss that is NaN must be seen: by default the Trainer hides it.
        logging_nan_inf_filter=False,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        label_names=[],
        dataloader_num_workers=config.data.workers,
        average_tokens_across_devices=False,
        ddp_find_unused_parameters=config.train_vision,
    )
