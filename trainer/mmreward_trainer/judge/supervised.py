"""The first stage: cross-entropy on the judgements that the rows hold, each pair in both orders.

Of a step the loss is the mean over all learned tokens of all its batches and processes, as in
critique training; the picture and what both orders begin with are computed once per pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from mmreward_trainer.critique.lora import adapters
from mmreward_trainer.critique.model import can_share_prompt, rope_index
from mmreward_trainer.critique.packing import Packer, model_inputs
from mmreward_trainer.critique.trainer import NotFiniteLoss, by_length
from mmreward_trainer.judge.configuration import JudgeConfig
from mmreward_trainer.judge.encoding import ComparisonEncoder, EncodedComparisons
from mmreward_trainer.judge.preparation import Parts, arguments, processes
from mmreward_trainer.resuming import ResumesByName

Inputs = dict[str, list[EncodedComparisons]]


class SupervisedTrainer(ResumesByName, Trainer):  # type: ignore[misc]
    """Trains a `RewardMixin` model on the judgements of encoded pairs."""

    # Each batch's loss is already its share of the whole step's.
    loss_is_scaled_for_ga = True

    def __init__(self, *, encoder: ComparisonEncoder, packer: Packer, **named: Any) -> None:
        super().__init__(data_collator=encoder, **named)
        self.encoder = encoder
        self.packer = packer

    def get_batch_samples(
        self, epoch_iterator: Iterator[Inputs], num_batches: int, device: torch.device
    ) -> tuple[list[Inputs], torch.Tensor]:
        """The batches of one step by length, and its learned tokens over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        batches = by_length(batches)
        tokens = sum(pair.learned_tokens for batch in batches for pair in batch["pairs"])
        gathered = self.accelerator.gather(torch.tensor([float(tokens)], device=device))
        return batches, gathered.sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """This batch's share of the step's loss."""
        batch = self.packer.pack([self.encoder.learned(pair) for pair in inputs["pairs"]])
        output = model(**model_inputs(batch, self.args.device))
        total = num_items_in_batch
        if not isinstance(total, torch.Tensor):
            total = torch.tensor(float(sum(pair.learned_tokens for pair in inputs["pairs"])))
        loss = output.token_losses.sum() / total.to(output.token_losses.device).clamp(min=1.0)
        if not math.isfinite(float(loss.detach())):
            rows = ", ".join(pair.where for pair in inputs["pairs"][:5])
            raise NotFiniteLoss(
                f"the loss is {float(loss.detach())} at step {self.state.global_step + 1} "
                f"(rows {rows}); the last save is good"
            )
        # Gradients of all processes are averaged; the tokens are of all of them together.
        loss = loss * self.accelerator.num_processes
        return (loss, output) if return_outputs else loss


def supervised_trainer(
    config: JudgeConfig,
    parts: Parts,
    model: Any,
    table: Any,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> SupervisedTrainer:
    """The Trainer of the first stage.

    Args:
        table: rows that all have a judgement, see `rows_of_stages`; sizes that divide are
            `check_sizes`'s.
    """
    stage, run = config.sft, config.run
    at_once = stage.pairs_per_batch * processes()
    rope, sizes = rope_index(model)
    packer = Packer(
        parts.tokens,
        parts.encoder.builder.renderer.end_of_turn_id,
        rope_index=rope,
        rope_arguments=sizes,
        share=run.share_prompt and can_share_prompt(model),
    )
    if config.lora is not None:
        from peft import get_peft_model

        model = get_peft_model(model, adapters(config.lora))
    return SupervisedTrainer(
        encoder=parts.encoder,
        packer=packer,
        model=model,
        args=TrainingArguments(
            **arguments(config, stage, folder),
            num_train_epochs=stage.epochs,
            max_steps=stage.max_steps or -1,
            per_device_train_batch_size=stage.pairs_per_batch,
            gradient_accumulation_steps=stage.pairs_per_step // at_once,
            average_tokens_across_devices=False,
        ),
        train_dataset=table,
        callbacks=callbacks,
    )
