"""The formula of MM-DPO: its values, its bounds, and what it does with every kind of number."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import dynamic_beta

finite = st.floats(allow_nan=False, allow_infinity=False)
constant = st.floats(min_value=0.0, max_value=1e6)


@pytest.mark.parametrize(
    ("delta", "beta"),
    [
        # 0.1 * (1 + 0.5 * (1 - exp(-0.5 * delta))) by hand
        (0.0, 0.1),
        (1.0, 0.1 * (1 + 0.5 * 0.3934693402873666)),
        (2.0, 0.1 * (1 + 0.5 * 0.6321205588285577)),
        (-3.0, 0.1),
        (1000.0, 0.15),
    ],
)
def test_values_by_hand(delta, beta):
    """The paper's formula with the paper's constants."""
    assert dynamic_beta(delta) == pytest.approx(beta, rel=1e-12)


@given(finite, constant, constant, st.floats(min_value=1e-6, max_value=1e6))
def test_any_finite_delta_stays_within_the_bounds(delta, w, k, beta0):
    """No finite margin overflows, and beta never leaves [beta0, (1 + w) * beta0]."""
    beta = dynamic_beta(delta, beta0=beta0, w=w, k=k)
    assert beta0 <= beta <= (1 + w) * beta0 * (1 + 1e-12)


@given(finite, finite)
def test_monotone(one, other):
    """A larger margin never gets a smaller beta."""
    low, high = sorted((one, other))
    assert dynamic_beta(low) <= dynamic_beta(high)


def test_bounds_are_exact():
    """At and below zero beta is beta0 itself; far out it is the upper bound itself."""
    assert dynamic_beta(-1e308) == 0.1
    assert dynamic_beta(-0.0) == 0.1
    assert dynamic_beta(1e308) == 0.1 * 1.5


def test_none_passes_through():
    """A pair without a margin has no beta either, alone or in a list."""
    assert dynamic_beta(None) is None
    assert dynamic_beta([0.0, None, 1000.0]) == [0.1, None, pytest.approx(0.15)]


@pytest.mark.parametrize("delta", [math.nan, math.inf, -math.inf])
def test_not_finite_is_refused(delta):
    """NaN and infinity are broken margins in whatever container they come."""
    torch = pytest.importorskip("torch")
    for holder in (delta, [0.0, delta], np.array([0.0, delta]), torch.tensor([0.0, delta])):
        with pytest.raises(ValueError, match="finite"):
            dynamic_beta(holder)


@pytest.mark.parametrize("name", ["w", "k", "beta0"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_constants_out_of_range(name, value):
    """Negative or non-finite constants are refused even where delta is None."""
    for delta in (1.0, None):
        with pytest.raises(ValueError, match=name):
            dynamic_beta(delta, **{name: value})


def test_beta0_of_zero_is_refused():
    """A DPO temperature of zero would switch the loss off."""
    with pytest.raises(ValueError, match="beta0"):
        dynamic_beta(1.0, beta0=0.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numpy_keeps_dtype_and_shape(dtype):
    """An array comes back as an array of its own kind."""
    deltas = np.array([[-1.0, 0.0], [1.0, 50.0]], dtype=dtype)
    betas = dynamic_beta(deltas)
    assert betas.dtype == deltas.dtype
    assert betas.shape == deltas.shape
    expected = [[dynamic_beta(float(d)) for d in row] for row in deltas]
    np.testing.assert_allclose(betas, expected, rtol=2e-3 if dtype == "float16" else 1e-6)


def test_numpy_integers_and_scalars():
    """Integer arrays are computed in floats; a numpy scalar is a number."""
    np.testing.assert_allclose(dynamic_beta(np.array([0, 1000])), [0.1, 0.15])
    assert dynamic_beta(np.float32(0.0)) == pytest.approx(0.1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_torch_keeps_dtype_and_device(dtype):
    """A tensor comes back as a tensor of its own kind."""
    torch = pytest.importorskip("torch")
    deltas = torch.tensor([-2.0, 0.0, 1.0, 80.0], dtype=getattr(torch, dtype))
    betas = dynamic_beta(deltas)
    assert betas.dtype == deltas.dtype
    assert betas.device == deltas.device
    expected = [dynamic_beta(float(d)) for d in deltas]
    assert betas.tolist() == pytest.approx(expected, rel=1e-2)


def test_torch_keeps_the_graph():
    """Gradients flow: the derivative at 1 is beta0 * w * k * exp(-k), and 0 below zero."""
    torch = pytest.importorskip("torch")
    deltas = torch.tensor([-1.0, 1.0], dtype=torch.float64, requires_grad=True)
    dynamic_beta(deltas).sum().backward()
    assert deltas.grad.tolist() == pytest.approx([0.0, 0.1 * 0.5 * 0.5 * math.exp(-0.5)])


def test_neither_torch_nor_numpy_is_imported():
    """Importing the client and computing a beta loads no array library."""
    code = (
        "import sys; from mmreward_client import dynamic_beta; dynamic_beta([0.5, None]);"
        "print(sorted({'torch', 'numpy', 'PIL', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
