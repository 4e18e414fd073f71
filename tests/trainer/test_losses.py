"""The losses against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from mmreward_trainer.losses import (
    bradley_terry,
    centring_loss,
    critique_loss,
    score_loss,
    tie_loss,
)


def test_score_loss_is_bradley_terry() -> None:
    """Margins 1 and -2: the mean of log(1 + exp(-1)) and log(1 + exp(2))."""
    loss = score_loss(torch.tensor([1.5, 0.0]), torch.tensor([0.5, 2.0]))
    expected = (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(2.0))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_bounds_the_margin() -> None:
    """With smoothing e the loss is smallest at a margin of log((1 - e) / e), not at infinity."""
    smoothing = 0.02
    best = math.log((1 - smoothing) / smoothing)
    at = [
        score_loss(torch.tensor([m]), torch.zeros(1), smoothing).item()
        for m in (best - 0.5, best, best + 0.5, best + 20)
    ]
    assert at[1] == min(at)
    entropy = -smoothing * math.log(smoothing) - (1 - smoothing) * math.log(1 - smoothing)
    assert at[1] == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, 1.0])
def test_label_smoothing_outside_its_range_is_refused(smoothing: float) -> None:
    """Half or more would prefer the wrong side."""
    with pytest.raises(ValueError, match="label_smoothing"):
        score_loss(torch.zeros(1), torch.zeros(1), smoothing)


def test_critique_loss_is_a_weighted_mean_over_tokens() -> None:
    """Two tokens of probability 1/2 and 1/4, first equally weighted, then three to one."""
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    targets = torch.tensor([0, 0])
    mean = (math.log(2) + math.log(4)) / 2
    assert critique_loss(logits, targets).item() == pytest.approx(mean, rel=1e-6)
    weighted = critique_loss(logits, targets, torch.tensor([3.0, 1.0])).item()
    assert weighted == pytest.approx((3 * math.log(2) + math.log(4)) / 4, rel=1e-6)


def test_centring_loss_is_the_mean_square_of_the_sum() -> None:
    """(1 - 3)^2 and (2 + 1)^2."""
    loss = centring_loss(torch.tensor([1.0, 2.0]), torch.tensor([-3.0, 1.0]))
    assert loss.item() == pytest.approx((4 + 9) / 2)


def test_a_margin_moves_the_point_of_indifference() -> None:
    """Leads of 1 and 3 under margins 1 and 0: log 2, and log(1 + exp(-3))."""
    each = bradley_terry(torch.tensor([1.0, 3.0]), torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert each.tolist() == pytest.approx([math.log(2), math.log1p(math.exp(-3))], rel=1e-6)


def test_ties_are_pulled_together() -> None:
    """(0.5 - -1)^2 and (2 - 2)^2."""
    assert tie_loss(torch.tensor([0.5, 2.0]), torch.tensor([-1.0, 2.0])).tolist() == [2.25, 0.0]
