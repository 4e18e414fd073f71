"""What MM-DPO and dense DPO share: TRL's DPOTrainer with a loss that is one of pairs.

TRL's own machinery is kept: reference model or disabled adapters, fused output layer, collators for
pictures, saves. `compute_loss` is ours, because both methods need what TRL's leaves no room for:
the β of a pair, pairs that do not count, the weights of tokens. Both answers of a pair go through
policy and reference with the same pictures.

Where this differs from TRL: the mean over pairs (and that of the SFT term over tokens) runs over
the whole step, over accumulated batches and all processes, so that a pair that is dropped is one
pair less in the mean wherever it stood; and nothing is reported to the Hub (`_send_telemetry`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate.utils import is_peft_model
from trl import DPOConfig, DPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from mmreward_trainer.align.collating import CARRIED, NAMES, Batch, Collate, NamingCollator
from mmreward_trainer.align.statistics import Bounds, PairFigures, losses_of, summary
from mmreward_trainer.critique.trainer import NotFiniteLoss
from mmreward_trainer.resuming import ResumesByName

_NOT_MODEL = CARRIED | {"completion_mask"}
_PER_PAIR_LOSSES = {"sigmoid", "sft"}


@dataclass
class PairConfig(DPOConfig):
    """`DPOConfig` without truncation: a cut answer is another answer.

    `loss_type` may be `["sigmoid"]` or `["sigmoid", "sft"]` with `loss_weights`, as in TRL.
    """

    max_length: int | None = field(default=None, metadata={"help": "None: nothing is cut."})


@dataclass(frozen=True)
class TokenLogProbs:
    """Log-probabilities of P pairs, chosen answers first; 0 where no token of an answer stands.

    Attributes:
        policy, reference: (2 P, T); the reference's without gradient.
        answers: (2 P, T), true at the tokens of answers.
    """

    policy: torch.Tensor
    reference: torch.Tensor
    answers: torch.Tensor


class PairTrainer(ResumesByName, DPOTrainer):
    """The common part; see `MMDPOTrainer` and `DenseDPOTrainer`."""

    # Each batch's loss is already its share of the whole step's.
    loss_is_scaled_for_ga = True
    margin_name: str | None = None

    def __init__(self, *, args: PairConfig, **arguments: Any) -> None:
        refuse_unused(args)
        # The columns that the collators read would be gone before they see them.
        args.remove_unused_columns = False
        super().__init__(args=args, **arguments)
        if self.aux_loss_enabled:
            raise ValueError("router_aux_loss_coef: losses of experts are not added, set it to 0")
        weights = dict(zip(self.loss_types, self.loss_weights, strict=True))
        self._preference_weight, self._sft_weight = weights["sigmoid"], weights.get("sft", 0.0)
        self._tables: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.data_collator = NamingCollator(self.wrapped(self.data_collator))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: TRL's would name no model where one was handed over, and say nothing of δ."""

    def wrapped(self, collate: Collate) -> Collate:
        """The collator with what the method needs."""
        raise NotImplementedError

    def used(self, batch: Batch) -> torch.Tensor:
        """(P,): whether a pair has a part in the loss."""
        return torch.ones(len(batch["input_ids"]) // 2, dtype=torch.bool)

    def figures(self, tokens: TokenLogProbs, batch: Batch) -> PairFigures:
        """Figures of a batch; `loss` and `nll` with gradient."""
        raise NotImplementedError

    def bounds(self) -> Bounds:
        """Of β, for the log."""
        return Bounds()

    def _send_telemetry(self) -> None: ...

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], torch.Tensor]:
        """The batches of a step, and over all processes (used pairs, their chosen tokens)."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = sum((self._count(batch) for batch in batches), torch.zeros(2))
        return batches, self.accelerator.gather(counts.to(device)[None]).sum(0)

    def _count(self, batch: Batch) -> torch.Tensor:
        used = self.used(batch).cpu()
        chosen = batch["completion_mask"][: len(used), 1:].sum(1).cpu()
        return torch.stack([used.sum(), chosen[used].sum()]).float()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """This batch's share of the step's loss.

        Raises:
            NotFiniteLoss: it is, or the policy's log-probabilities of a dropped pair are.
        """
        if return_outputs:
            raise NotImplementedError("no logits are kept: compute_metrics cannot be served")
        tokens = self._token_log_probs(model, inputs)
        used = self.used(inputs).to(tokens.policy.device)
        self._check_dropped(tokens, used, inputs)
        figures = self.figures(_only_of_used(tokens, used), inputs)
        totals = num_items_in_batch
        if not isinstance(totals, torch.Tensor):
            totals = self._count(inputs).to(figures.loss.device)
        preference = figures.loss[used].sum() / totals[0].clamp(min=1)
        sft = figures.nll[used].sum() / totals[1].clamp(min=1)
        # Of a batch without a used pair the sum is empty and its gradient zero, but there is one.
        loss = self._preference_weight * preference
        if self._sft_weight:
            loss = loss + self._sft_weight * sft
        if not math.isfinite(float(loss.detach())):
            raise NotFiniteLoss(
                f"the loss is {float(loss.detach())} at step {self.state.global_step + 1} "
                f"(rows {', '.join(inputs[NAMES][:5])}); the last save is good"
            )
        self._keep(figures)
        if not self.model.training:
            return loss
        # Gradients of all processes are averaged; the totals are of all of them together.
        return loss * self.accelerator.num_processes

    def _check_dropped(self, tokens: TokenLogProbs, used: torch.Tensor, inputs: Batch) -> None:
        finite = tokens.policy.detach().isfinite().all(1).view(2, -1).all(0)
        lost = [name for name, good in zip(inputs[NAMES], finite | used, strict=True) if not good]
        if lost:
            # Hidden states that are NaN make the weights' gradient NaN, even times a zero.
            raise NotFiniteLoss(
                f"the policy's log-probabilities of a dropped pair are not finite at step "
                f"{self.state.global_step + 1} (rows {', '.join(lost[:5])}); the last save is good"
            )

    def _keep(self, figures: PairFigures) -> None:
        training = self.model.training
        gather = self.accelerator.gather if training else self.accelerator.gather_for_metrics
        self._tables["train" if training else "eval"].append(gather(figures.stacked()).cpu())

    def _token_log_probs(self, model: Any, inputs: Batch) -> TokenLogProbs:
        arguments = {name: value for name, value in inputs.items() if name not in _NOT_MODEL}
        answers = inputs["completion_mask"].bool()
        arguments |= {
            "labels": inputs["input_ids"].masked_fill(~answers, -100),
            "fused_lm_head": True,
            "use_cache": False,
        }
        policy = model(**arguments).log_probs
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            self.accelerator.autocast(),
        ):
            reference = self._reference(arguments)
        return TokenLogProbs(policy.float(), reference.float(), answers[:, 1:])

    def _reference(self, arguments: dict[str, Any]) -> torch.Tensor:
        if self.ref_model is not None:
            return self.ref_model(**arguments).log_probs
        if not is_peft_model(self.model):
            raise RuntimeError("a policy trained as a whole has lost its reference model")
        policy = self.accelerator.unwrap_model(self.model)
        with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
            return self.model(**arguments).log_probs

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the pairs' figures since the last line of this kind."""
        mode = "train" if self.model.training else "eval"
        tables = self._tables.pop(mode, [])
        if tables:
            figures = PairFigures.unstacked(torch.cat(tables))
            values = summary(figures, self.margin_name, self.bounds()) | self.more(figures)
            for name, value in values.items():
                self._metrics[mode][name].append(value)
            self._set_validation_loss(logs, figures)
        super().log(logs, start_time)

    def more(self, figures: PairFigures) -> dict[str, float]:
        """What a method logs beside the common figures."""
        return {}

    def _set_validation_loss(self, logs: dict[str, float], figures: PairFigures) -> None:
        """The mean over all used pairs: the Trainer's is one of batches, dropped pairs and all."""
        means = losses_of(figures)
        for name in [one for one in logs if one.startswith("eval") and one.endswith("_loss")]:
            if means is None:
                del logs[name]
            else:
                logs[name] = self._preference_weight * means[0] + self._sft_weight * means[1]


def _only_of_used(tokens: TokenLogProbs, used: torch.Tensor) -> TokenLogProbs:
    """The same values, without a gradient at dropped pairs: a zero times NaN would be NaN."""
    kept = used.repeat(2)[:, None]
    return replace(tokens, policy=torch.where(kept, tokens.policy, tokens.policy.detach()))


def refuse_unused(args: DPOConfig) -> None:
    """Settings of TRL that this loss would ignore without a word.

    Raises:
        ValueError: names the setting.
    """
    types = list(args.loss_type)
    if "sigmoid" not in types or not set(types) <= _PER_PAIR_LOSSES:
        raise ValueError(
            f"loss_type {types}: the beta of a pair enters the sigmoid loss only; "
            "choose ['sigmoid'], or ['sigmoid', 'sft'] with loss_weights"
        )
    refused = {
        "ld_alpha": args.ld_alpha is not None,
        "use_weighting": args.use_weighting,
        "f_divergence_type": args.f_divergence_type != "reverse_kl",
        "label_smoothing": args.label_smoothing != 0,
        "precompute_ref_log_probs": args.precompute_ref_log_probs,
    }
    for name, is_set in refused.items():
        if is_set:
            raise ValueError(f"{name}: this trainer does not take it into account; leave it out")
