"""The loss of a batch of pairs: which sequences it needs, and what is made of their scores.

Every part is a sum over this batch divided by a count over the whole step (all accumulated batches
of all processes). A mean of means would weigh a token of a short critique more than one of a long
one, and differently with every way of cutting a step into batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from mmreward_trainer import losses
from mmreward_trainer.critique.configuration import Loss
from mmreward_trainer.critique.encoding import EncodedPair, PairEncoder
from mmreward_trainer.critique.model import RewardOutput
from mmreward_trainer.critique.packing import Group, PackedBatch
from mmreward_trainer.critique.writing import Written

COUNTS = ("tokens", "pairs", "ties", "reasoned")
"""What is counted of a step, see `count`."""


def count(pairs: list[EncodedPair]) -> torch.Tensor:
    """(4,) learned tokens, pairs with a preference, ties, and pairs whose critiques are learned."""
    return torch.tensor(
        [
            sum(pair.learned_tokens for pair in pairs),
            sum(not pair.is_tie for pair in pairs),
            sum(pair.is_tie for pair in pairs),
            sum(pair.learns_critiques and not pair.is_tie for pair in pairs),
        ],
        dtype=torch.float64,
    )


@dataclass
class Plan:
    """The groups of a batch, and which sequences of each are scored for what.

    Attributes:
        scored: for each pair the places (chosen, rejected) of the sequences whose scores are
            compared; None if the model did not finish a critique of its own.
        bare: the same for scores without a critique that are learned beside.
    """

    pairs: list[EncodedPair]
    groups: list[Group] = field(default_factory=list)
    scored: list[tuple[int, int] | None] = field(default_factory=list)
    bare: list[tuple[int, int] | None] = field(default_factory=list)


def plan(
    encoder: PairEncoder, pairs: list[EncodedPair], weights: Loss, own: list[Written] | None
) -> Plan:
    """What a batch computes.

    Args:
        own: critiques the model wrote itself, whose scores are then learned instead of those of
            the data's critiques; None scores the data's.
    """
    build = encoder.builder
    made = Plan(pairs)
    for i, pair in enumerate(pairs):
        sequences = []
        scored: tuple[int, int] | None = (0, 1)
        bare: tuple[int, int] | None = None
        if not pair.learns_critiques:
            sequences += [build.bare(answer) for answer in pair.answers]
        else:
            written = None if own is None else own[i]
            sequences += [build.critique(one, read=written is None) for one in pair.answers]
            if written is not None:
                scored = None
                if written[0] is not None and written[1] is not None:
                    scored = (len(sequences), len(sequences) + 1)
                    sequences += [
                        build.critique(answer, ids, learn=False)
                        for answer, ids in zip(pair.answers, written, strict=True)
                        if ids is not None
                    ]
            if weights.none:
                bare = (len(sequences), len(sequences) + 1)
                sequences += [build.bare(answer) for answer in pair.answers]
        made.groups.append(encoder.group(pair, sequences))
        made.scored.append(scored)
        made.bare.append(bare)
    return made


@dataclass
class Parts:
    """Parts of a batch's loss, before their weights, and what is worth looking at."""

    loss: torch.Tensor
    seen: dict[str, torch.Tensor]


def loss_of(
    made: Plan, batch: PackedBatch, output: RewardOutput, weights: Loss, totals: torch.Tensor
) -> Parts:
    """The batch's share of the step's loss.

    Args:
        totals: (4,) counts of the whole step, see `count`.
    """
    tokens, preferences, ties, reasoned = totals.clamp(min=1.0).to(output.scores)
    everything = (totals[1] + totals[2]).clamp(min=1.0).to(output.scores)
    is_tie = torch.tensor([pair.is_tie for pair in made.pairs], device=output.scores.device)
    margins = torch.tensor([pair.margin for pair in made.pairs], device=output.scores.device)
    chosen, rejected, at = _scores(made.scored, batch, output.scores)
    tied = is_tie[at]
    lead = losses.bradley_terry(
        chosen[~tied], rejected[~tied], margins[at][~tied], weights.label_smoothing
    )
    critique = output.token_losses.sum() / tokens
    score = lead.sum() / preferences
    tie = losses.tie_loss(chosen[tied], rejected[tied]).sum() / ties
    centring = (chosen + rejected).square().sum() / everything
    bare_chosen, bare_rejected, bare_at = _scores(made.bare, batch, output.scores)
    kept = ~is_tie[bare_at]
    none = (
        losses.bradley_terry(
            bare_chosen[kept], bare_rejected[kept], 0.0, weights.label_smoothing
        ).sum()
        / reasoned
    )
    loss = (
        weights.critique * critique
        + weights.score * (score + weights.tie * tie)
        + weights.none * none
        + weights.centring * centring
    )
    difference = (chosen - rejected).detach()[~tied]
    seen: dict[str, Any] = {
        "critique": critique, "score": score, "tie": tie, "none": none, "centring": centring,
        "right": (difference > 0).sum() / preferences,
        "margin": difference.sum() / preferences,
        "unfinished": torch.tensor(float(made.scored.count(None))) / everything.cpu(),
    }  # fmt: skip
    return Parts(loss, {name: value.detach().float().cpu() for name, value in seen.items()})


def _scores(
    places: list[tuple[int, int] | None], batch: PackedBatch, scores: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of chosen and rejected, and the numbers of the pairs they belong to."""
    first, second, at = [], [], []
    for i, place in enumerate(places):
        if place is None:
            continue
        chosen, rejected = batch.score_of[i][place[0]], batch.score_of[i][place[1]]
        assert chosen is not None
        assert rejected is not None
        first.append(chosen)
        second.append(rejected)
        at.append(i)
    device = scores.device
    index = [torch.tensor(one, dtype=torch.long, device=device) for one in (first, second, at)]
    return scores[index[0]], scores[index[1]], index[2]
