"""`ls_factor`, the column of the released trainer; the other formulas are held in tests/reward."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import dynamic_beta
from mmreward_client.margin import ls_factor


@given(st.floats(0, 100), st.floats(0, 10))
def test_it_is_what_beta_is_made_of(delta, k):
    """For margins above zero beta0 * (1 + w * ls_factor) is the paper's beta."""
    assert 0.1 * (1 + 0.5 * ls_factor(delta, k)) == pytest.approx(dynamic_beta(delta, k=k))


def test_known_values():
    """Zero at zero, unclipped below, null where there is no margin or no number for it."""
    assert ls_factor(0.0, 0.5) == 0.0
    assert ls_factor(2.0, 0.5) == pytest.approx(1 - math.exp(-1))
    assert ls_factor(-2.0, 0.5) == pytest.approx(1 - math.e)
    assert ls_factor(None, 0.5) is None
    assert ls_factor(-1e6, 1.0) is None
