"""Losses and betas against the few lines of the papers, written down a second time."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import dynamic_beta
from mmreward_trainer.align import betas
from mmreward_trainer.align.objective import answer_log_probs, dpo_losses, leads

DELTAS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8)
PARAMETERS = {"beta0": st.floats(1e-3, 5), "w": st.floats(0, 3), "k": st.floats(0, 4)}


@given(deltas=DELTAS, **PARAMETERS)
def test_betas_of_a_batch_are_those_of_its_pairs(
    deltas: list[float], beta0: float, w: float, k: float
) -> None:
    """The tensor form in float64, as the trainer calls it, against the formula in Python."""
    batch = dynamic_beta(torch.tensor(deltas, dtype=torch.float64), beta0=beta0, w=w, k=k)
    for delta, found in zip(deltas, batch.tolist(), strict=True):
        assert found == pytest.approx(dynamic_beta(delta, beta0=beta0, w=w, k=k), rel=1e-12)
        # The paper's own words: the formula, clipped from both sides.
        raw = 1 + w * (1 - math.exp(min(-k * delta, 700)))
        assert found == pytest.approx(min(max(beta0 * raw, beta0), (1 + w) * beta0), rel=1e-9)


@given(DELTAS, st.integers(0, 10_000))
def test_the_loss_of_each_pair_is_the_published_one(deltas: list[float], seed: int) -> None:
    """On random log-probabilities, pair by pair in plain Python."""
    pairs = len(deltas)
    generator = torch.Generator().manual_seed(seed)
    policy, reference = (
        -20 * torch.rand(2 * pairs, 5, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    beta = dynamic_beta(torch.tensor(deltas, dtype=torch.float64))
    found = dpo_losses(leads(answer_log_probs(policy), answer_log_probs(reference)), beta)
    for i in range(pairs):
        ratios = [
            sum(policy[row].tolist()) - sum(reference[row].tolist()) for row in (i, pairs + i)
        ]
        logit = dynamic_beta(deltas[i]) * (ratios[0] - ratios[1])
        assert float(found[i]) == pytest.approx(_softplus(-logit), rel=1e-9)


@given(st.integers(0, 10_000), st.booleans())
def test_the_dense_loss_is_the_published_one(seed: int, normalise: bool) -> None:
    """Sums over unchanged and changed tokens, each by itself."""
    generator = torch.Generator().manual_seed(seed)
    policy, reference = (
        -5 * torch.rand(2, 7, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    changed = torch.rand(2, 7, generator=generator) < 0.4
    gamma = 5.0
    weights = torch.where(changed, gamma, 1.0).double()
    found = dpo_losses(
        leads(
            answer_log_probs(policy, weights, normalise=normalise),
            answer_log_probs(reference, weights, normalise=normalise),
        ),
        0.5,
    )

    def dense(table: torch.Tensor, row: int) -> float:
        unchanged_sum = sum(
            float(p) for p, c in zip(table[row], changed[row], strict=True) if not c
        )
        changed_sum = sum(float(p) for p, c in zip(table[row], changed[row], strict=True) if c)
        total = unchanged_sum + gamma * changed_sum
        n_changed = int(changed[row].sum())
        return total / (7 - n_changed + gamma * n_changed) if normalise else total

    lead = dense(policy, 0) - dense(reference, 0) - dense(policy, 1) + dense(reference, 1)
    assert float(found) == pytest.approx(_softplus(-0.5 * lead), rel=1e-9)


@given(st.integers(0, 10_000))
def test_weights_of_one_are_plain_dpo(seed: int) -> None:
    """To the last bit: the sum is the same sum."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(4, 9, generator=generator)
    assert torch.equal(
        answer_log_probs(table, torch.ones_like(table), normalise=False), answer_log_probs(table)
    )


def test_the_released_column_rule() -> None:
    """Hand-computed: no upper bound, 1e-3 below."""
    found = betas.released_column(torch.tensor([0.0, 1.0, 30.0, -9.95, -40.0]), 0.1, 0.1)
    assert found.tolist() == pytest.approx([0.1, 0.11, 0.4, 1e-3, 1e-3])


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=20), st.integers(0, 1000))
def test_the_released_implicit_rule(leads_: list[float], seed: int) -> None:
    """Recomputed with the standard library around the same draw."""
    tensor = torch.tensor(leads_, dtype=torch.float64)
    found = betas.released_implicit(tensor, 0.1, 0.1, torch.Generator().manual_seed(seed))
    mean, deviation = statistics.fmean(leads_), statistics.stdev(leads_)
    weights = [math.exp(-0.5 * ((one - mean) / (deviation + 1e-7)) ** 2) for one in leads_]
    drawn = torch.multinomial(
        torch.tensor(weights, dtype=torch.float64), int(0.8 * len(leads_)), replacement=False,
        generator=torch.Generator().manual_seed(seed),
    ).tolist()  # fmt: skip
    assert len(set(drawn)) == int(0.8 * len(leads_))
    shift = statistics.fmean(leads_[i] for i in drawn) - mean
    assert float(found) == pytest.approx(max(0.1 * (1 + 0.1 * shift), 1e-3), rel=1e-6)


def test_the_released_implicit_rule_needs_two_pairs() -> None:
    """Of one it would draw none."""
    with pytest.raises(ValueError, match="it needs two"):
        betas.released_implicit(torch.tensor([1.0]), 0.1, 0.1)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
