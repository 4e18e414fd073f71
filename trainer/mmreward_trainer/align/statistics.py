"""What a log line says of the pairs since the last one: distributions, not only means.

Batches may hold one pair, so that quantiles of a batch say nothing: the pairs' own figures are kept
until a line is written.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


@dataclass(frozen=True)
class PairFigures:
    """Figures of P pairs, each (P,), without gradient.

    Attributes:
        used: 0 where the pair has no part in the loss.
        lacking: 1 where its margin could not be had.
        margin: what β was made of; 0 where there is none, see `lacking`.
        loss: the preference loss.
        nll, tokens: of the chosen answer, for the SFT term.
        chosen_ratio, rejected_ratio: log pi - log ref of either answer, as the loss takes them.
        extra_chosen, extra_rejected: whatever else a method counts of either answer.
    """

    used: torch.Tensor
    lacking: torch.Tensor
    margin: torch.Tensor
    beta: torch.Tensor
    loss: torch.Tensor
    nll: torch.Tensor
    tokens: torch.Tensor
    chosen_ratio: torch.Tensor
    rejected_ratio: torch.Tensor
    chosen_log_prob: torch.Tensor
    rejected_log_prob: torch.Tensor
    extra_chosen: torch.Tensor
    extra_rejected: torch.Tensor

    def stacked(self) -> torch.Tensor:
        """(P, figures), for one exchange between processes."""
        columns = [getattr(self, one.name).detach().float() for one in fields(self)]
        return torch.stack(columns, dim=1)

    @classmethod
    def unstacked(cls, table: torch.Tensor) -> PairFigures:
        return cls(*table.unbind(1))

    def at(self, pairs: torch.Tensor) -> PairFigures:
        """Those of some pairs, by flags (P,)."""
        return PairFigures(*(getattr(self, one.name)[pairs] for one in fields(self)))


@dataclass(frozen=True)
class Bounds:
    """The range that a β may take; None where a side has no bound."""

    lower: float | None = None
    upper: float | None = None


def losses_of(figures: PairFigures) -> tuple[float, float] | None:
    """(mean preference loss of the used pairs, mean loss of their chosen tokens); None if none."""
    used = figures.at(figures.used.bool())
    if not len(used.loss):
        return None
    return float(used.loss.mean()), float(used.nll.sum() / used.tokens.sum().clamp(min=1))


def summary(figures: PairFigures, margin_name: str | None, bounds: Bounds) -> dict[str, float]:
    """The values of a log line; a mean of no pair is left out.

    `beta/at_upper` counts pairs whose β has come 99 % of the way to its bound: the formula itself
    never reaches it.
    """
    values = {
        "pairs/used": float(figures.used.sum()),
        "pairs/dropped": float((1 - figures.used).sum()),
        "pairs/without_margin": float(figures.lacking.sum()),
    }
    known = figures.at((1 - figures.lacking).bool())
    if margin_name is not None and len(known.margin):
        values |= _distribution(margin_name, known.margin)
    used = figures.at(figures.used.bool())
    if not len(used.beta):
        return values
    values |= _distribution("beta", used.beta)
    lower, upper = bounds.lower, bounds.upper
    if lower is not None:
        values["beta/at_lower"] = _share(used.beta <= lower * (1 + 1e-6))
    if lower is not None and upper is not None:
        values["beta/at_upper"] = _share(used.beta >= lower + 0.99 * (upper - lower))
    chosen, rejected = used.beta * used.chosen_ratio, used.beta * used.rejected_ratio
    preference, sft = losses_of(figures) or (0.0, 0.0)
    return values | {
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margins": float((chosen - rejected).mean()),
        "rewards/accuracies": _share(chosen > rejected),
        "lead/mean": float((used.chosen_ratio - used.rejected_ratio).mean()),
        "logps/chosen": float(used.chosen_log_prob.mean()),
        "logps/rejected": float(used.rejected_log_prob.mean()),
        "loss/preference": preference,
        "loss/sft": sft,
    }


def _distribution(name: str, values: torch.Tensor) -> dict[str, float]:
    points = torch.quantile(values, torch.tensor(list(QUANTILES.values()), device=values.device))
    named = {f"{name}/{one}": float(at) for one, at in zip(QUANTILES, points, strict=True)}
    return {f"{name}/mean": float(values.mean()), **named}


def _share(flags: torch.Tensor) -> float:
    return float(flags.float().mean())
