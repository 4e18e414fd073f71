"""What a run consists of before its first step: policy, reference, processor, and the trainer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmreward_service.images import ImageLimits
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

from mmreward_trainer.align.configuration import AlignSettings, DenseDPOSettings, MMDPOSettings
from mmreward_trainer.align.control_tokens import control_tokens
from mmreward_trainer.align.dense_dpo import DenseDPOConfig, DenseDPOTrainer
from mmreward_trainer.align.live_margins import ServiceMargins
from mmreward_trainer.align.messages import MessageCollator
from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer
from mmreward_trainer.align.rows import PairTable
from mmreward_trainer.align.trainer import PairTrainer
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.lora import adapters, freeze_vision

_DTYPES = {"float32": torch.float32, "bf16-mixed": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class AlignParts:
    """Processor and collator of a run."""

    processor: Any
    collate: MessageCollator


def prepare_parts(settings: AlignSettings) -> AlignParts:
    """Without the model, so that rows can be checked first.

    Raises:
        ConfigError: no processor, or one without a chat template.
    """
    try:
        processor = AutoProcessor.from_pretrained(settings.model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model: {error}") from error
    if not hasattr(processor, "tokenizer"):
        raise ConfigError(f"model: {settings.model} holds no vision-language model")
    if processor.chat_template is None:
        raise ConfigError(f"model: {settings.model} has no chat template, which a policy needs")
    data = settings.data
    collate = MessageCollator(
        DataCollatorForVisionPreference(processor),
        control_tokens(processor),
        ImageLimits(data.max_image_bytes, data.max_image_pixels),
        data.max_tokens,
    )
    return AlignParts(processor, collate)


def load_policy(settings: AlignSettings) -> Any:
    """The model, its vision tower frozen unless it is to be trained.

    Raises:
        ConfigError: the folder cannot be read.
    """
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            settings.model,
            dtype=_DTYPES[settings.run.precision],
            attn_implementation=settings.run.attention,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model: {error}") from error
    if not settings.train_vision:
        freeze_vision(model)
    return model


def make_trainer(
    settings: AlignSettings,
    parts: AlignParts,
    train: PairTable,
    validation: PairTable | None,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> PairTrainer:
    """The trainer of a run.

    Raises:
        ConfigError: steps that do not divide into batches, or a rule that cannot be followed.
    """
    trains_whole = settings.lora is None
    arguments: dict[str, Any] = {
        "model": load_policy(settings),
        "ref_model": load_policy(settings) if trains_whole else None,
        "peft_config": None if settings.lora is None else adapters(settings.lora),
        "processing_class": parts.processor,
        "data_collator": parts.collate,
        "train_dataset": train.table,
        "eval_dataset": None if validation is None else validation.table,
        "callbacks": callbacks,
    }
    common = _arguments(settings, folder, validates=validation is not None)
    try:
        if isinstance(settings, MMDPOSettings):
            source = service_of(settings)
            config = mm_dpo_config(settings, common)
            return MMDPOTrainer(args=config, margin_source=source, **arguments)
        assert isinstance(settings, DenseDPOSettings)
        return DenseDPOTrainer(args=dense_dpo_config(settings, common), **arguments)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def service_of(settings: AlignSettings) -> ServiceMargins | None:
    """The service that margins come from; None where they stand in a column, or are none.

    Raises:
        ValueError: an address or a number that cannot be used.
    """
    if not isinstance(settings, MMDPOSettings) or settings.margins.source == "column":
        return None
    options = settings.margins.model_dump(exclude={"source"})
    return ServiceMargins(
        options.pop("urls"),
        basis=settings.loss.basis,
        api_key=os.environ.get("MMREWARD_API_KEY"),
        **options,
    )


def mm_dpo_config(settings: MMDPOSettings, common: dict[str, Any]) -> MMDPOConfig:
    """Settings of a run as the trainer takes them."""
    loss = settings.loss
    return MMDPOConfig(
        **common,
        **_loss_types(loss.sft),
        beta=loss.beta,
        beta_rule=loss.rule,
        w=loss.w,
        k=loss.k,
        basis=loss.basis,
        margin_column=loss.column,
        without_margin=loss.without_margin,
        # A last forward pass of one pair would be too small for the batch-level beta.
        dataloader_drop_last=loss.rule == "released-implicit",
    )


def dense_dpo_config(settings: DenseDPOSettings, common: dict[str, Any]) -> DenseDPOConfig:
    """Settings of a run as the trainer takes them."""
    loss = settings.loss
    return DenseDPOConfig(
        **common, **_loss_types(loss.sft), beta=loss.beta, form=loss.form, gamma=loss.gamma
    )


def _loss_types(sft: float) -> dict[str, Any]:
    if sft == 0:
        return {"loss_type": ["sigmoid"]}
    return {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, sft]}


def _arguments(settings: AlignSettings, folder: Path, *, validates: bool) -> dict[str, Any]:
    optimisation, run = settings.optimisation, settings.run
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = optimisation.pairs_per_batch * processes
    if optimisation.pairs_per_step % at_once:
        raise ConfigError(
            f"optimisation.pairs_per_step ({optimisation.pairs_per_step}) is no multiple of "
            f"pairs_per_batch x processes ({optimisation.pairs_per_batch} x {processes})"
        )
    validating = validates and run.validate_every_steps is not None
    # Plainly: an earlier run of this process has left its own folder there.
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    return {
        "output_dir": str(folder / "saves"),
        "seed": run.seed,
        "num_train_epochs": optimisation.epochs,
        "max_steps": optimisation.max_steps or -1,
        "per_device_train_batch_size": optimisation.pairs_per_batch,
        "per_device_eval_batch_size": optimisation.pairs_per_batch,
        "gradient_accumulation_steps": optimisation.pairs_per_step // at_once,
        "learning_rate": optimisation.learning_rate,
        "lr_scheduler_type": optimisation.schedule,
        "warmup_steps": optimisation.warm_up_share,
        "weight_decay": optimisation.weight_decay,
        "adam_beta1": optimisation.betas[0],
        "adam_beta2": optimisation.betas[1],
        "max_grad_norm": optimisation.max_grad_norm,
        "bf16": run.precision == "bf16-mixed",
        "use_cpu": run.cpu,
        "gradient_checkpointing": run.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "save_strategy": "steps",
        "save_steps": run.save_every_steps,
        "save_total_limit": run.keep_saves,
        "eval_strategy": "steps" if validating else "no",
        "eval_steps": run.validate_every_steps if validating else None,
        "logging_steps": 1,
        # A loss that is NaN must be seen: by default the Trainer hides it.
        "logging_nan_inf_filter": False,
        "report_to": ["tensorboard"],
        "dataloader_num_workers": settings.data.workers,
    }
