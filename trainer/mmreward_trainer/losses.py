"""The losses of a critique reward model, after MM-RLHF (arXiv 2502.10391, "Critique-Based Reward
Model Training"): L = L_critique + L_score.

    L_critique = - sum_t log pi(c_t | c_<t, x, y)
    L_score    = - log sigmoid( r(x, y_w, c_w) - r(x, y_l, c_l) )

Where we differ, and why:
- L_critique is a mean over tokens, as in the paper's released code, so that its weight does not
  depend on how long the critiques of a batch happen to be.
- Tokens can be weighted. Where the answer is true, the model could copy it instead of working the
  result out, and in half of all pairs would be right; those steps get little weight.
- L_score has label smoothing: without it the margin grows without bound on pairs that are easy,
  and is then as large on those that are wrong.
- The paper scores ground-truth critiques only. There the verdict stands in the critique and the
  head learns to read it, not to doubt it. We go on with critiques that the model wrote itself.
- A small centring term, from the paper's code, keeps the scores of both sides around zero; a
  Bradley-Terry loss alone leaves their sum free.
- Ties: the paper's code has (r_w - r_l)^2 for them, with a weight that its settings do not define,
  so that no run with ties can have happened. Here the weight is a setting.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def critique_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Weighted mean cross-entropy of critique tokens.

    Args:
        logits: (tokens, vocabulary); targets: (tokens,); weights: (tokens,), None for all equal.
    """
    if weights is None:
        return F.cross_entropy(logits.float(), targets)
    each = F.cross_entropy(logits.float(), targets, reduction="none")
    return (weights * each).sum() / weights.sum()


def bradley_terry(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    margin: torch.Tensor | float = 0.0,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Bradley-Terry loss of each pair, (pairs,), smoothed as in a classifier.

    Args:
        chosen, rejected: scores (pairs,).
        margin: what chosen must lead by before the loss counts it as even, (pairs,) or a number;
            `margin` of TRL's RewardTrainer and of the paper's code.
        label_smoothing: in [0, 0.5). With e the best lead is log((1 - e) / e) instead of infinity:
            3.9 for e = 0.02.
    """
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be in [0, 0.5), got {label_smoothing}")
    lead = chosen - rejected - margin
    right = -F.logsigmoid(lead)
    wrong = -F.logsigmoid(-lead)
    return (1.0 - label_smoothing) * right + label_smoothing * wrong


def score_loss(
    chosen: torch.Tensor, rejected: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Mean of `bradley_terry` over pairs."""
    return bradley_terry(chosen, rejected, label_smoothing=label_smoothing).mean()


def tie_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(r_a - r_b)^2 of each pair whose answers are equally good, (pairs,)."""
    return (first - second).square()


def centring_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Mean of (r_w + r_l)^2: moves the scores of a pair to both sides of zero."""
    return (chosen + rejected).square().mean()
