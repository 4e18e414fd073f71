"""What a run consists of before its first step: processor, policy, and TRL's trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmreward_service.images import ImageLimits
from transformers import AutoConfig, AutoProcessor, TrainerCallback

from mmreward_trainer.align.control_tokens import control_tokens
from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.align.grouped.messages import Messages
from mmreward_trainer.align.grouped.missing import LeavesMissingOut
from mmreward_trainer.align.grouped.reading import Ending
from mmreward_trainer.align.grouped.service_reward import ServiceReward
from mmreward_trainer.align.messages import refuse_long
from mmreward_trainer.align.preparation import load_policy
from mmreward_trainer.align.rows import PairTable
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.lora import adapters
from mmreward_trainer.critique.model import media_tokens
from mmreward_trainer.critique.trainer import NotFiniteLoss
from mmreward_trainer.judge.preparation import arguments, processes
from mmreward_trainer.judge.trl_import import import_trl
from mmreward_trainer.resuming import ResumesByName


@dataclass(frozen=True)
class GroupedParts:
    """Processor of a run, and what turns its rows into messages.

    Attributes:
        never: ids that no completion may hold, see `MediaTokens.never_written`.
    """

    processor: Any
    messages: Messages
    never: list[int]
    max_tokens: int

    @property
    def special(self) -> tuple[str, ...]:
        """Texts of the special tokens."""
        return control_tokens(self.processor)

    def check(self, row: dict[str, Any]) -> int:
        """The tokens of one row's prompt.

        Raises:
            RowError: a picture that cannot be used, or more tokens than are allowed.
        """
        count = self.messages.tokens(row, self.processor)
        refuse_long(row["where"], count, self.max_tokens)
        return count


def prepare(settings: GroupedSettings) -> GroupedParts:
    """Without the model, so that rows can be checked first.

    Raises:
        ConfigError: sizes that do not divide, no TRL, no processor or chat template.
    """
    check_sizes(settings)
    import_trl(with_vllm=settings.rl.use_vllm)
    try:
        # TRL pads prompts on the left, and takes the types of their tokens from the processor:
        # padded on the right, pictures would be looked for at other tokens.
        processor = AutoProcessor.from_pretrained(settings.model, padding_side="left")
        config = AutoConfig.from_pretrained(settings.model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model: {error}") from error
    if not hasattr(processor, "tokenizer"):
        raise ConfigError(f"model: {settings.model} holds no vision-language model")
    if processor.chat_template is None:
        raise ConfigError(f"model: {settings.model} has no chat template, which a policy needs")
    vocabulary = config.get_text_config().vocab_size
    data = settings.data
    return GroupedParts(
        processor=processor,
        messages=Messages(ImageLimits(data.max_image_bytes, data.max_image_pixels)),
        never=media_tokens(config).never_written(len(processor.tokenizer), vocabulary),
        max_tokens=data.max_tokens,
    )


def check_sizes(settings: GroupedSettings) -> None:
    """A step must be a whole number of batches on every process.

    Raises:
        ConfigError: it is not.
    """
    rl = settings.rl
    if (rl.prompts_per_step * rl.completions) % (rl.completions_per_batch * processes()):
        raise ConfigError(
            f"rl: prompts_per_step x completions ({rl.prompts_per_step} x {rl.completions}) is no "
            f"multiple of completions_per_batch x processes ({rl.completions_per_batch} x "
            f"{processes()})"
        )


def make_trainer(
    settings: GroupedSettings,
    parts: GroupedParts,
    reward: ServiceReward,
    train: PairTable,
    validation: PairTable | None,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> Any:
    """The trainer of a run; tells the reward function what ends a completion.

    Raises:
        ConfigError: settings that TRL refuses.
    """
    base, make_arguments = import_trl(with_vllm=settings.rl.use_vllm)
    rl = settings.rl
    steps = rl.max_steps or math.ceil(rl.epochs * len(train) / rl.prompts_per_step)
    shown = order_of_prompts(len(train), steps * rl.prompts_per_step, settings.run.seed)
    held_out = None if validation is None else validation.table.with_transform(parts.messages)
    named = _arguments(settings, parts, folder, validates=validation is not None)
    try:
        trainer = _trainer_class(base, parts.max_tokens)(
            model=load_policy(settings),
            reward_funcs=reward,
            args=make_arguments(**named, max_steps=steps, shuffle_dataset=False),
            train_dataset=train.table.select(shown).with_transform(parts.messages),
            eval_dataset=held_out,
            processing_class=parts.processor,
            peft_config=None if settings.lora is None else adapters(settings.lora),
            callbacks=callbacks,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    reward.ending = Ending(frozenset(trainer.eos_token_ids))
    return trainer


def order_of_prompts(rows: int, drawn: int, seed: int) -> list[int]:
    """The rows that are drawn, each epoch in an order of its own.

    TRL (1.16) shuffles by itself, but after resuming in a later epoch it begins with the order of
    the first one again: what a resumed run sees is then not what the whole one would have seen.
    """
    generator = np.random.default_rng(seed)
    epochs = [generator.permutation(rows) for _ in range(math.ceil(drawn / rows))]
    order: list[int] = np.concatenate(epochs)[:drawn].tolist()
    return order


def _trainer_class(base: Any, max_tokens: int) -> Any:
    class GroupedTrainer(LeavesMissingOut, ResumesByName, base):  # type: ignore[misc]
        """GRPO in which a completion without a reward has no part."""

        def _send_telemetry(self) -> None: ...

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """None: it would tell the Hub's links of a run that is not there."""

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            self._wheres = [one["where"] for one in inputs]
            scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
            return scored

        def _tokenize_prompts(self, prompts: list[Any]) -> Any:
            """Raises: RowError: names the row of a prompt with too many tokens."""
            found = super()._tokenize_prompts(prompts)
            for where, ids in zip(self._wheres, found[0], strict=True):
                refuse_long(where, len(ids), max_tokens)
            return found

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            if not math.isfinite(float(loss.detach())):
                raise NotFiniteLoss(
                    f"the loss is {float(loss.detach())} at step {self.state.global_step + 1}; "
                    "the last save is good"
                )
            return loss

    return GroupedTrainer


def _arguments(
    settings: GroupedSettings, parts: GroupedParts, folder: Path, *, validates: bool
) -> dict[str, Any]:
    rl, run = settings.rl, settings.run
    at_once = rl.completions_per_batch * processes()
    validating = validates and run.validate_every_steps is not None
    # It reads the names that both kinds of settings share.
    common = arguments(cast(Any, settings), rl, folder)
    return common | {
        "per_device_train_batch_size": rl.completions_per_batch,
        # Whole groups on every process.
        "per_device_eval_batch_size": rl.completions
        * max(1, rl.completions_per_batch // rl.completions),
        "gradient_accumulation_steps": rl.prompts_per_step * rl.completions // at_once,
        "num_generations": rl.completions,
        "max_completion_length": rl.max_completion_tokens,
        "temperature": rl.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "beta": rl.kl,
        "epsilon": rl.clip,
        "loss_type": rl.loss,
        "scale_rewards": rl.scale,
        "use_vllm": rl.use_vllm,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": rl.vllm_memory_share,
        "generation_kwargs": {"logit_bias": dict.fromkeys(parts.never, -100.0)}
        if rl.use_vllm
        else {"suppress_tokens": parts.never},
        "eval_strategy": "steps" if validating else "no",
        "eval_steps": run.validate_every_steps if validating else None,
        "ddp_find_unused_parameters": True,  # a batch may hold no picture
    }
