"""The retry table, as a pure function."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import RetryPolicy
from mmreward_client.retry import retry_after_s, wait_before_retry

POLICY = RetryPolicy(retries=5, base_s=1.0, cap_s=8.0)


def longest(attempt, status, headers=None, policy=POLICY):
    """The wait with the jitter at its upper bound."""
    return wait_before_retry(
        attempt, status, headers or {}, policy=policy, uniform=lambda low, high: high
    )


@pytest.mark.parametrize("status", [None, 408, 429, 502, 503, 504, 507, 529])
def test_ceilings_double_up_to_the_cap(status):
    """Connection errors and passing statuses: 1, 2, 4, 8, 8 seconds at most, then no more."""
    waits = [longest(attempt, status) for attempt in range(6)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, None]


def test_500_once():
    """An internal error may be the moment's fault, twice in a row it is the input's."""
    assert longest(0, 500) == 1.0
    assert wait_before_retry(1, 500, {}, policy=POLICY, faults=1) is not None
    assert wait_before_retry(1, 500, {}, policy=POLICY, faults=2) is None


@pytest.mark.parametrize(
    "status", [300, 400, 401, 403, 404, 405, 409, 413, 415, 418, 422, 501, 505, 600]
)
def test_never_retried(status):
    """What would be wrong again is not sent again."""
    assert longest(0, status) is None


def test_no_retries():
    """retries=0 switches it off."""
    assert longest(0, None, policy=RetryPolicy(retries=0)) is None


@given(st.integers(0, 4), st.sampled_from([None, 429, 503]))
def test_jitter_is_full(attempt, status):
    """A wait lies anywhere between nothing and its ceiling."""
    wait = wait_before_retry(attempt, status, {}, policy=POLICY)
    assert 0.0 <= wait <= longest(attempt, status)


def test_retry_after_is_a_floor():
    """What the service asks for is waited in full, jitter comes on top."""
    assert longest(0, 429, {"retry-after": "30"}) == 31.0


def test_retry_after_forms():
    """Seconds, an HTTP date, a date that is past, and nonsense."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_s({"retry-after": " 7 "}) == 7.0
    assert retry_after_s({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, now=now) == 60.0
    assert retry_after_s({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, now=now) == 0.0
    assert retry_after_s({"retry-after": "Thu, 01 Jan 2026 00:01:00"}, now=now) == 60.0
    for nonsense in ("soon", "-3", "", "1.5x"):
        assert retry_after_s({"retry-after": nonsense}) is None
    assert retry_after_s({}) is None


@pytest.mark.parametrize("field", ["retries", "base_s", "cap_s"])
def test_negative_policies_are_refused(field):
    """A negative patience is a mistake."""
    with pytest.raises(ValueError, match="retries"):
        RetryPolicy(**{field: -1})
