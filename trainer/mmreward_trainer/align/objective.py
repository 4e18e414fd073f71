"""The losses of preference training, from log-probabilities alone.

DPO (arXiv 2305.18290, eq. 7): -log sigmoid( beta * [ (log pi_w - log ref_w) - (log pi_l -
log ref_l) ] ). MM-DPO (arXiv 2502.10391) gives each pair its own beta. RLHF-V's DDPO (arXiv
2312.00849, the equation of its dense log-probability) weighs the tokens of each answer:

    log pi(y|x) = (1/N) [ sum_{i in y_u} log p_i + gamma * sum_{i in y_c} log p_i ],
    N = |y_u| + gamma * |y_c|,      y_u unchanged, y_c corrected tokens.

Shapes: P pairs, T positions; of a batch of 2 P answers the chosen ones come first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def answer_log_probs(
    token_log_probs_AT: torch.Tensor,
    weights_AT: torch.Tensor | None = None,
    *,
    normalise: bool = False,
) -> torch.Tensor:
    """Log-probability of each answer (A,).

    Args:
        token_log_probs_AT: of every token, 0 where no token of the answer stands.
        weights_AT: None weighs every token 1; 0 where no token of the answer stands.
        normalise: divide by the sum of the weights (DDPO's N).
    """
    if weights_AT is None:
        return token_log_probs_AT.sum(1)
    weighted = (weights_AT * token_log_probs_AT).sum(1)
    return weighted / weights_AT.sum(1) if normalise else weighted


def leads(policy_A: torch.Tensor, reference_A: torch.Tensor) -> torch.Tensor:
    """(P,): how much more the policy prefers chosen to rejected than the reference does."""
    chosen, rejected = (policy_A - reference_A).chunk(2)
    return chosen - rejected


def dpo_losses(lead_P: torch.Tensor, beta: torch.Tensor | float) -> torch.Tensor:
    """Loss of each pair (P,), with one beta (a number) or one of each pair (P,)."""
    return -F.logsigmoid(beta * lead_P)
