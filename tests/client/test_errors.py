"""The error tree: what is what, and that it leaves a worker process whole."""

from __future__ import annotations

import copy
import pickle

import mmreward_client as m
import pytest

LEAVES = [
    m.InvalidRequest,
    m.Unauthorized,
    m.UnknownModel,
    m.PinMismatch,
    m.TooLarge,
    m.Overloaded,
    m.NotReady,
    m.DeadlineExceeded,
    m.ServerError,
]


@pytest.mark.parametrize("kind", [m.ApiError, *LEAVES])
def test_api_errors_survive_pickling(kind):
    """Every attribute is there after a round trip, and the text is the same."""
    error = kind("no", status=429, code="c", request_id="r", param="p", retry_after_s=2.5)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error) == "no (HTTP 429, c, request r)"
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("kind", [m.InvalidInput, m.TransportError, m.ProtocolError])
def test_other_errors_survive_pickling(kind):
    """So do the ones that carry a message alone."""
    twin = pickle.loads(pickle.dumps(kind("no")))
    assert type(twin) is kind
    assert str(twin) == "no"


def test_tree():
    """One root to catch; the answers of the service under ApiError; bad input is a ValueError."""
    assert set(m.ApiError.__subclasses__()) == set(LEAVES)
    # An adapter that another test imported has an error of its own, which no client raises.
    own = {
        one for one in m.RewardError.__subclasses__() if one.__module__ == m.RewardError.__module__
    }
    assert own == {
        m.ApiError,
        m.InvalidInput,
        m.TransportError,
        m.ProtocolError,
    }
    assert issubclass(m.InvalidInput, ValueError)


def test_text_without_facts():
    """No empty brackets where nothing is known."""
    assert str(m.ApiError("no")) == "no"
