"""The β of each pair: MM-DPO's formula as published, and what its released code does instead.

The paper (arXiv 2502.10391): β(δ) = β0 (1 + w (1 - exp(-k δ))), clipped to [β0, (1 + w) β0]; the
formula is `mmreward_client.dynamic_beta`, here and everywhere.

The released code has two branches (its DPO trainer, March 2025):

- `released_column`: β = β0 (1 + w f), not below 1e-3, f a field `ls_factor` of the data (1 where
  the data have none). k and the upper bound appear nowhere.
- `released_implicit`: the default, which overwrites the other one. With A the leads of all pairs of
  a forward pass over all processes, detached, floor(0.8 |A|) of them are drawn without replacement
  with weights exp(-((A - mean) / (std + 1e-7))^2 / 2), and β = β0 (1 + w (mean of the drawn -
  mean of A)), not below 1e-3, one for all pairs. No reward model has a part in it; the paper
  calls it the implicit reward and finds it worse. Published weight w: 0.1 (paper: 0.5).

In both the bound of 1e-3 is on β itself.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Rule = Literal["paper", "given", "released-column", "released-implicit", "plain"]
RULES: tuple[Rule, ...] = get_args(Rule)

SMALLEST_RELEASED_BETA = 1e-3
DRAWN_SHARE = 0.8
DEFAULT_W = {"released-column": 0.1, "released-implicit": 0.1}
PAPER_W = 0.5


def default_w(rule: str) -> float:
    """w where none is given: the source's own."""
    return DEFAULT_W.get(rule, PAPER_W)


def released_column(factor: torch.Tensor, beta0: float, w: float) -> torch.Tensor:
    """β of each pair from `ls_factor`, same shape."""
    return (beta0 * (1.0 + w * factor)).clamp(min=SMALLEST_RELEASED_BETA)


def released_implicit(
    leads: torch.Tensor, beta0: float, w: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """The one β of a forward pass, a scalar.

    Args:
        leads: of all pairs of all processes, (n,), without gradient.
        generator: of the draw. The released code draws on each process for itself; here all
            processes are to draw alike, so that the β is one.

    Raises:
        ValueError: fewer than two leads: of one, the code would draw none and fail.
    """
    if leads.numel() < 2:
        raise ValueError("released-implicit draws from the pairs of a forward pass: it needs two")
    mean, deviation = leads.mean(), leads.std()
    weights = torch.exp(-0.5 * ((leads - mean) / (deviation + 1e-7)).square())
    drawn = torch.multinomial(
        weights.cpu(), int(DRAWN_SHARE * leads.numel()), replacement=False, generator=generator
    )
    shift = leads[drawn.to(leads.device)].mean() - mean
    return (beta0 * (1.0 + w * shift)).clamp(min=SMALLEST_RELEASED_BETA)
