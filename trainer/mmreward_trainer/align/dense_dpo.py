"""Dense DPO (RLHF-V, arXiv 2312.00849): corrected tokens weigh more than the rest of an answer.

    trainer = DenseDPOTrainer(
        model="Qwen/Qwen2.5-VL-3B-Instruct",
        args=DenseDPOConfig(output_dir="out", form="paper", beta=0.5),
        train_dataset=corrections,      # images, prompt, chosen (corrected), rejected (original)
    )

`form` is `paper` (γ = 5, divided by N, β = 0.5 in the paper) or `released` (γ = 1.1, a weighted
sum, β = 0.1), see `token_weights`. The same weights stand in policy and reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from mmreward_trainer.align.collating import CHANGED, Batch, ChangedTokensCollator, Collate
from mmreward_trainer.align.objective import answer_log_probs, dpo_losses
from mmreward_trainer.align.statistics import PairFigures
from mmreward_trainer.align.token_weights import DenseWeights
from mmreward_trainer.align.trainer import PairConfig, PairTrainer, TokenLogProbs

FORMS = {"paper": 0.5, "released": 0.1}
"""Name -> the β that its source trains with."""


@dataclass
class DenseDPOConfig(PairConfig):
    """TRL's settings of DPO, and those of the weights of tokens."""

    beta: float | None = field(  # type: ignore[assignment]
        default=None, metadata={"help": "None: the form's own, 0.5 (paper) or 0.1 (released)."}
    )
    form: str = field(default="paper", metadata={"help": "paper | released"})
    gamma: float | None = field(
        default=None, metadata={"help": "Weight of a corrected token; None: 5, or 1.1."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in FORMS:
            raise ValueError(f"form is one of {', '.join(FORMS)}")
        if self.beta is None:
            self.beta = FORMS[self.form]
        if self.gamma is not None and not (self.gamma > 0 and math.isfinite(self.gamma)):
            raise ValueError(f"gamma must be finite and above 0, got {self.gamma}")
        if self.max_length is not None:
            raise ValueError("max_length: what a cut answer lacks would count as a correction")

    def weights(self) -> DenseWeights:
        return DenseWeights.of("paper" if self.form == "paper" else "released", gamma=self.gamma)


class DenseDPOTrainer(PairTrainer):
    """TRL's DPOTrainer with weights of tokens. Arguments as `DPOTrainer`.

    Args:
        weights: how corrected tokens are found and weighed; None takes the configuration's form.
    """

    args: DenseDPOConfig

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: DenseDPOConfig | None = None,
        *,
        weights: DenseWeights | None = None,
        **arguments: Any,
    ) -> None:
        args = DenseDPOConfig("dense-dpo") if args is None else args
        if not isinstance(args, DenseDPOConfig):
            raise TypeError(f"args is a DenseDPOConfig, not a {type(args).__name__}")
        self.weights = args.weights() if weights is None else weights
        super().__init__(model=model, ref_model=ref_model, args=args, **arguments)

    def wrapped(self, collate: Collate) -> Collate:
        return ChangedTokensCollator(collate, self.weights)

    def figures(self, tokens: TokenLogProbs, batch: Batch) -> PairFigures:
        changed = batch[CHANGED][:, 1:]
        # Made here and not in the collator: γ = 1.1 must not pass through bfloat16.
        weights = torch.where(changed, self.weights.gamma, 1.0).to(tokens.policy) * tokens.answers
        policy, reference = (
            answer_log_probs(one, weights, normalise=self.weights.normalise)
            for one in (tokens.policy, tokens.reference)
        )
        chosen, rejected = (policy - reference).chunk(2)
        pairs = len(chosen)
        plain = answer_log_probs(tokens.policy)
        nothing = torch.zeros_like(chosen)
        shares = changed.sum(1) / tokens.answers.sum(1)
        return PairFigures(
            used=torch.ones_like(chosen),
            lacking=nothing,
            margin=nothing,
            beta=torch.full_like(chosen, self.beta),
            loss=dpo_losses(chosen - rejected, self.beta),
            nll=-plain[:pairs],
            tokens=tokens.answers[:pairs].sum(1).to(policy),
            chosen_ratio=chosen,
            rejected_ratio=rejected,
            chosen_log_prob=plain[:pairs],
            rejected_log_prob=plain[pairs:],
            extra_chosen=shares[:pairs],
            extra_rejected=shares[pairs:],
        )

    def more(self, figures: PairFigures) -> dict[str, float]:
        unchanged = (figures.extra_chosen + figures.extra_rejected) == 0
        return {
            "changed/chosen": float(figures.extra_chosen.mean()),
            "changed/rejected": float(figures.extra_rejected.mean()),
            "pairs/without_change": float(unchanged.sum()),
        }
