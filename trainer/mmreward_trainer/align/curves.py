"""The panels of `curves.png`, by method."""

from __future__ import annotations

from mmreward_trainer.critique.curves import Panels

_COMMON: Panels = (
    ("Loss", ("loss/preference", "loss/sft", "eval_loss")),
    ("Implicit rewards", ("rewards/chosen", "rewards/rejected", "rewards/margins")),
    ("Share of pairs right", ("rewards/accuracies", "eval_rewards/accuracies")),
)
MM_DPO_PANELS: Panels = (
    *_COMMON,
    ("β of the pairs", ("beta/p10", "beta/p50", "beta/p90")),
    ("Share of β at its bounds", ("beta/at_lower", "beta/at_upper")),
    ("δ of the pairs", ("delta/p10", "delta/p50", "delta/p90")),
)
DENSE_DPO_PANELS: Panels = (
    *_COMMON,
    ("Share of tokens corrected", ("changed/chosen", "changed/rejected")),
    ("Log-probabilities", ("logps/chosen", "logps/rejected")),
    ("Learning rate", ("learning_rate",)),
)
