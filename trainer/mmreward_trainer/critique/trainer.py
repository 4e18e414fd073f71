"""transformers' Trainer with pairs: exact normalisation, self-written critiques, validation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from transformers import Trainer

from mmreward_trainer.critique.configuration import ConfigError, CritiqueConfig
from mmreward_trainer.critique.encoding import EncodedPair, PairEncoder
from mmreward_trainer.critique.objective import Parts, count, loss_of, plan
from mmreward_trainer.critique.optimizer import muon_with_adamw
from mmreward_trainer.critique.packing import Packer, model_inputs
from mmreward_trainer.critique.validation import Judge, Judged, figures
from mmreward_trainer.critique.writing import Writer
from mmreward_trainer.resuming import ResumesByName

Inputs = dict[str, list[EncodedPair]]


class NotFiniteLoss(RuntimeError):
    """The loss became NaN or infinite; the message names the step and the rows."""


def by_length(batches: list[Inputs]) -> list[Inputs]:
    """The same pairs in as many batches of the same sizes, the shortest pairs first."""
    pairs = [pair for batch in batches for pair in batch["pairs"]]
    pairs.sort(key=lambda pair: pair.longest)
    taken = iter(pairs)
    return [{"pairs": list(islice(taken, len(batch["pairs"])))} for batch in batches]


class CritiqueTrainer(ResumesByName, Trainer):
    """Trains a `RewardMixin` model on batches of encoded pairs."""

    # Each batch's loss is already its share of the whole step's, see `objective`.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        settings: CritiqueConfig,
        encoder: PairEncoder,
        packer: Packer,
        writer: Writer,
        judge: Judge | None,
        **arguments: Any,
    ) -> None:
        super().__init__(data_collator=encoder, **arguments)
        self.settings = settings
        self.encoder = encoder
        self.packer = packer
        self.writer = writer
        self.judge = judge
        self.judged: list[Judged] = []  # by the latest validation
        self._seen: list[dict[str, torch.Tensor]] = []
        self._tokens = 0

    def get_batch_samples(
        self, epoch_iterator: Iterator[Inputs], num_batches: int, device: torch.device
    ) -> tuple[list[Inputs], torch.Tensor]:
        """The batches of one step, and the counts of that step over all processes.

        A step is the same however it is cut, so its pairs are put into batches by length: a batch
        is as wide as its longest row.
        """
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        batches = by_length(batches)
        totals = sum((count(batch["pairs"]) for batch in batches), torch.zeros(4))
        gathered = self.accelerator.gather(totals.float().to(device)[None])
        return batches, gathered.sum(0)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """This batch's share of the step's loss."""
        parts = self._parts(model, inputs["pairs"], num_items_in_batch)
        if not math.isfinite(float(parts.loss.detach())):
            rows = ", ".join(pair.where for pair in inputs["pairs"][:5])
            raise NotFiniteLoss(
                f"the loss is {float(parts.loss.detach())} at step {self.state.global_step + 1} "
                f"(rows {rows}); the last save is good"
            )
        self._seen.append(parts.seen)
        # Gradients of all processes are averaged; the counts are of all of them together.
        loss = parts.loss * self.accelerator.num_processes
        return (loss, parts) if return_outputs else loss

    def _parts(self, model: Any, pairs: list[EncodedPair], totals: Any) -> Parts:
        if not isinstance(totals, torch.Tensor):
            totals = count(pairs)
        own = None
        start = self.settings.own_critiques.from_step
        if start is not None and self.state.global_step >= start:
            own = self.writer.write(
                self.accelerator.unwrap_model(model, keep_torch_compile=False),
                pairs,
                temperature=self.settings.own_critiques.temperature,
                together=self.is_sharded,
            )
        made = plan(self.encoder, pairs, self.settings.loss, own)
        batch = self.packer.pack(made.groups)
        self._tokens += batch.tokens
        output = model(**model_inputs(batch, self.args.device))
        return loss_of(made, batch, output, self.settings.loss, totals)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As the Trainer's, and a learning rate of its own for the head."""
        if self.optimizer is not None:
            return self.optimizer
        trained = self.model if model is None else model
        decayed = set(self.get_decay_parameter_names(trained))
        rate = self.settings.optimisation.head_learning_rate or self.args.learning_rate
        if self.settings.optimisation.optimizer == "muon":
            if self.is_sharded:
                raise ConfigError("optimisation.optimizer: muon needs whole matrices, not shards")
            self.optimizer = muon_with_adamw(
                trained.named_parameters(),
                decayed,
                self.args.learning_rate,
                rate,
                self.args.weight_decay,
                self.settings.optimisation.betas,
            )
            return self.optimizer
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in trained.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(("reward_head" in name, name in decayed), []).append(parameter)
        made, arguments = self.get_optimizer_cls_and_kwargs(self.args, trained)
        self.optimizer = made(
            [
                {
                    "params": parameters,
                    "lr": rate if is_head else self.args.learning_rate,
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for (is_head, decays), parameters in groups.items()
            ],
            **arguments,
        )
        return self.optimizer

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """Accuracy on validation pairs, judged by critiques the model writes itself."""
        if self.judge is None:
            return {}
        self.judged = self.judge.judge(
            self.accelerator.unwrap_model(self.model, keep_torch_compile=False),
            together=self.is_sharded,
        )
        metrics = {f"eval_{name}": value for name, value in figures(self.judged).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the parts of the loss since the last line, averaged over the steps."""
        if "loss" in logs and self._seen:
            names = list(self._seen[0])
            sums = torch.stack(
                [torch.stack([one[name] for one in self._seen]).sum() for name in names]
            ).to(self.args.device)
            total = self.accelerator.gather(sums[None]).sum(0).cpu()
            steps = max(1, round(len(self._seen) / self.args.gradient_accumulation_steps))
            logs |= {name: float(value) / steps for name, value in zip(names, total, strict=True)}
            logs["tokens"] = float(self._tokens)
            self._seen.clear()
        super().log(logs, start_time)
