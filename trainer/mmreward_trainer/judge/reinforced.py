"""The second stage: TRL's GRPOTrainer on prompts that are the service's, token by token.

TRL (1.16) takes chat messages and tokenises them itself, with the chat template of the tokenizer,
which reads special tokens in a user's text and knows nothing of our templates. Its generation, its
loss and its bookkeeping are used as they are; four of its methods are replaced, where ids and
pictures come in:

    _tokenize_prompts                     ids and pictures of a rollout, for generation
    _generate_single_turn                 for vLLM: one placeholder per picture, as it is served
    _generate_and_score_completions       keeps each rollout's pictures with it when TRL shuffles
    _get_per_token_logps_and_entropies    the same pictures again in the log-probability pass

The table that TRL iterates over is the schedule: a row's number and the order of its answers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from mmreward_trainer.critique.lora import adapters
from mmreward_trainer.critique.media import EncodedMedia
from mmreward_trainer.critique.packing import joined
from mmreward_trainer.critique.rows import read_pictures
from mmreward_trainer.critique.trainer import NotFiniteLoss
from mmreward_trainer.judge.configuration import JudgeConfig
from mmreward_trainer.judge.encoding import EncodedComparisons
from mmreward_trainer.judge.preparation import Parts, arguments, processes
from mmreward_trainer.judge.rewards import JudgementReward
from mmreward_trainer.judge.schedule import schedule
from mmreward_trainer.judge.trl_import import import_trl
from mmreward_trainer.resuming import ResumesByName


def judge_trainer_class(base: Any) -> Any:
    """TRL's GRPOTrainer with our prompts; made here because importing TRL takes seconds."""

    class JudgeTrainer(ResumesByName, base):  # type: ignore[misc]
        """GRPO on comparisons.

        Args:
            parts: encoder, placeholders, and what no rollout may hold.
            rows: the table that the schedule's `row` counts in.
        """

        def __init__(self, *, parts: Parts, rows: Any, **named: Any) -> None:
            self.parts = parts
            self.rows = rows
            self._rolled: list[tuple[dict[str, Any], EncodedComparisons]] = []
            self._media: list[EncodedMedia] = []
            super().__init__(**named)
            end = parts.encoder.builder.renderer.end_of_turn_id
            # What ends a judgement is the template's, whatever the tokenizer calls its end.
            self.eos_token_ids = [end]
            if not self.use_vllm:
                self.generation_kwargs["eos_token_id"] = [end]
                self.generation_config.eos_token_id = [end]

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """None: the exported folder has our own."""

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            encoded: dict[int, EncodedComparisons] = {}
            for one in inputs:
                if one["row"] not in encoded:
                    encoded[one["row"]] = self.parts.encoder.encode(self.rows[one["row"]])
            self._rolled = [(one, encoded[one["row"]]) for one in inputs]
            self._media = [pair.media for _, pair in self._rolled]
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            # A list of one entry per rollout, which TRL shuffles and splits with the tensors.
            output["media"] = self._media
            return output

        def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, Any]:
            ids = [
                self.parts.encoder.prompt(pair, chosen_first=one["chosen_first"])
                for one, pair in self._rolled
            ]
            fields: dict[str, Any] = dict(joined(self._media))
            if self._takes_types:
                fields["mm_token_type_ids"] = [
                    self.parts.tokens.types(torch.tensor(one), torch.ones(len(one))).tolist()
                    for one in ids
                ]
            return ids, None, fields

        def _generate_single_turn(
            self, prompt_ids: Any, images: Any, multimodal_fields: Any, *more: Any, **named: Any
        ) -> Any:
            if not self.use_vllm:
                return super()._generate_single_turn(
                    prompt_ids, images, multimodal_fields, *more, **named
                )
            from mmreward_service.images import check_payload, decode

            # vLLM puts the pictures in by itself, at one placeholder for each.
            build = self.parts.encoder.builder
            short = [
                build.prompt(pair.answers[0 if one["chosen_first"] else 1])
                for one, pair in self._rolled
            ]
            limits = self.parts.encoder.media.limits
            pictures = [
                [
                    decode(check_payload(content, limits))
                    for content in read_pictures(self.rows[one["row"]])
                ]
                or None
                for one, _ in self._rolled
            ]
            return super()._generate_single_turn(short, pictures, {}, *more, **named)

        def _get_per_token_logps_and_entropies(
            self,
            model: Any,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            logits_to_keep: int,
            batch_size: int | None = None,
            compute_entropy: bool = False,
            **_: Any,
        ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
            """Log-probabilities (B, T) of what was written, and entropies (B, T) if asked for."""
            size = batch_size or len(input_ids)
            logps, entropies = [], []
            for start in range(0, len(input_ids), size):
                ids, mask = input_ids[start : start + size], attention_mask[start : start + size]
                fields = joined(self._media[start : start + size])
                fields = {name: tensor.to(ids.device) for name, tensor in fields.items()}
                if self._takes_types:
                    fields["mm_token_type_ids"] = self.parts.tokens.types(ids, mask)
                labels = ids.masked_fill(mask == 0, -100)
                labels[:, :-logits_to_keep] = -100
                with self.accelerator.autocast():
                    output = model(
                        input_ids=ids,
                        attention_mask=mask,
                        labels=labels,
                        fused_lm_head=True,
                        **fields,
                    )
                logps.append(output.log_probs[:, -logits_to_keep:])
                if compute_entropy:
                    entropies.append(output.entropy[:, -logits_to_keep:])
            return torch.cat(logps), torch.cat(entropies) if entropies else None, None

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            self._media = inputs["media"]
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            if not math.isfinite(float(loss.detach())):
                raise NotFiniteLoss(
                    f"the loss is {float(loss.detach())} at step {self.state.global_step + 1}; "
                    "the last save is good"
                )
            return loss

        @property
        def _takes_types(self) -> bool:
            return hasattr(
                self.accelerator.unwrap_model(self.model).config, "vision_start_token_id"
            )

    return JudgeTrainer


def reinforced_trainer(
    config: JudgeConfig,
    parts: Parts,
    model: Any,
    table: Any,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> Any:
    """The Trainer of the second stage.

    Args:
        model: loaded from a folder that the reference model can be loaded from as well.
        table: rows that all have a preference, see `rows_of_stages`; sizes that divide are
            `check_sizes`'s.
    """
    from datasets import Dataset

    base, make_arguments = import_trl(with_vllm=config.rl.use_vllm)
    stage = config.rl
    at_once = stage.rollouts_per_batch * processes()
    rollouts = stage.comparisons_per_step * stage.rollouts
    steps = stage.max_steps
    if steps is None:
        steps = (
            math.ceil(stage.epochs * 2 * len(table) / stage.comparisons_per_step) * stage.updates
        )
    drawn = math.ceil(steps / stage.updates) * stage.comparisons_per_step
    shown = schedule(len(table), drawn, config.run.seed)
    settings = arguments(config, stage, folder)
    settings["ddp_find_unused_parameters"] = True  # a batch may hold no picture
    made = make_arguments(
        **settings,
        max_steps=steps,
        per_device_train_batch_size=stage.rollouts_per_batch,
        gradient_accumulation_steps=rollouts // at_once,
        num_generations=stage.rollouts,
        num_iterations=stage.updates,
        max_completion_length=parts.spec.max_tokens("judge"),
        shuffle_dataset=False,  # the schedule is shuffled already, and balanced
        temperature=stage.temperature,
        top_p=1.0,
        top_k=0,
        beta=stage.kl,
        epsilon=stage.clip,
        loss_type=stage.loss,
        scale_rewards=stage.scale,
        use_vllm=stage.use_vllm,
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=stage.vllm_memory_share,
        generation_kwargs=_generation(parts, use_vllm=stage.use_vllm),
    )
    return judge_trainer_class(base)(
        parts=parts,
        rows=table,
        model=model,
        reward_funcs=JudgementReward(parts.encoder.builder.renderer, stage.rewards),
        args=made,
        train_dataset=Dataset.from_dict(
            {
                # TRL wants a text here; what is generated from is made of the other two.
                "prompt": [""] * len(shown),
                "row": [one.row for one in shown],
                "chosen_first": [one.chosen_first for one in shown],
            }
        ),
        processing_class=parts.processor.tokenizer,
        peft_config=None if config.lora is None else adapters(config.lora),
        callbacks=callbacks,
    )


def _generation(parts: Parts, *, use_vllm: bool) -> dict[str, Any]:
    """No placeholder may be written: there is no picture for it in the log-probability pass."""
    if not use_vllm:
        return {"suppress_tokens": parts.never}
    return {
        "stop_token_ids": [parts.encoder.builder.renderer.end_of_turn_id],
        "logit_bias": dict.fromkeys(parts.never, -100.0),
    }
