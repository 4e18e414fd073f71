"""The head is float32 whatever surrounds it; the slot carries its score and hides itself."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.reward.head import RewardHead, head_tensor_shapes
from mmreward_service.reward.slot import MAX_ABS_SCORE, read_slot, write_slot
from mmreward_service.reward.spec import HeadSpec

VOCAB, TOKENS, SLOT = 16, 10, 12


@pytest.mark.parametrize("kind", ["tanh", "silu", "linear"])
def test_head_matches_its_formula(kind: str) -> None:
    torch.manual_seed(1)
    head = RewardHead(6, HeadSpec(type=kind, inner_size=4)).eval()
    hidden = torch.randn(3, 2, 6)
    if kind == "linear":
        inner = hidden
    else:
        activation = {"tanh": torch.tanh, "silu": torch.nn.functional.silu}[kind]
        inner = activation(hidden @ head.dense.weight.T + head.dense.bias)
    expected = (inner @ head.out.weight.T + head.out.bias)[..., 0]
    torch.testing.assert_close(head(hidden), expected, rtol=1e-6, atol=1e-6)
    assert head(hidden).shape == (3, 2)


def test_head_stays_float32_under_autocast_and_bfloat16_input() -> None:
    """The same bfloat16 hidden state scores the same with and without autocast around it."""
    head = RewardHead(64, HeadSpec(type="tanh")).eval()
    hidden = torch.randn(5, 64).to(torch.bfloat16)
    plain = head(hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = head(hidden)
    assert plain.dtype == mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


def test_shapes_are_those_of_the_module() -> None:
    spec = HeadSpec(type="silu", inner_size=5)
    assert head_tensor_shapes(7, spec) == {
        "dense.weight": (5, 7),
        "dense.bias": (5,),
        "out.weight": (1, 5),
        "out.bias": (1,),
    }


@given(st.floats(-MAX_ABS_SCORE, MAX_ABS_SCORE, width=32))
def test_every_score_in_range_comes_back(score: float) -> None:
    """Rounding of the offset is at most 2**-16 below 256 and 2**-15 above."""
    logits = write_slot(torch.zeros(1, VOCAB), torch.tensor([score]), SLOT, TOKENS)
    value = read_slot(logits[0, SLOT].item())
    assert value is not None
    assert abs(value - score) <= 2.0**-15


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 192.5, -1e30, 300.0])
def test_no_number_for_what_is_not_finite_or_out_of_range(score: float) -> None:
    logits = write_slot(torch.zeros(1, VOCAB), torch.tensor([score]), SLOT, TOKENS)
    assert read_slot(logits[0, SLOT].item()) is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_slot_is_never_likely(temperature: float) -> None:
    """At the highest score that the slot carries its probability is below 1e-13."""
    logits = write_slot(torch.zeros(1, VOCAB), torch.tensor([MAX_ABS_SCORE]), SLOT, TOKENS)
    probabilities = torch.softmax(logits / temperature, dim=-1)
    assert probabilities[0, SLOT] < 1e-13
    assert probabilities[0, TOKENS:].sum() < 1e-13
    assert probabilities[0, 0] > 0.09
