"""Permits: all or none, given back once, and an honest Retry-After."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service import admission as admission_module
from mmreward_service.admission import Admission
from mmreward_service.errors import Overloaded, TooLarge


def test_a_request_gets_all_its_permits_or_none() -> None:
    """Over the bound nothing is taken, so a smaller request still finds what is left."""
    admission = Admission(10, 2)
    first = admission.admit(6)
    with pytest.raises(Overloaded, match="6 of 10") as refusal:
        admission.admit(5)
    assert refusal.value.retry_after_s == 2
    assert admission.in_flight == 6
    with first, admission.admit(4):
        assert admission.in_flight == 10
    assert admission.in_flight == 0


def test_a_request_that_can_never_fit_is_not_told_to_retry() -> None:
    """413 with the limit's name, also while the service is idle."""
    with pytest.raises(TooLarge) as refusal:
        Admission(10, 2).admit(11)
    assert refusal.value.code == "max_in_flight"


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 20))
def test_permits_are_given_back_exactly_once(releases: list[int], permits: int) -> None:
    """However often and however much is released, a ticket returns what it took."""
    admission = Admission(20, 2)
    with admission.admit(permits) as ticket:
        for count in releases:
            ticket.release(count)
            assert 0 <= admission.in_flight <= permits
    assert admission.in_flight == 0


def test_retry_after_follows_the_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two critiques a second and ten missing means five seconds; idle time does not count."""
    now = 1000.0
    monkeypatch.setattr(admission_module.time, "monotonic", lambda: now)
    admission = Admission(10, 2)
    now += 3600
    ticket = admission.admit(10)
    now += 2
    ticket.release(4)
    admission.admit(4)
    with pytest.raises(Overloaded) as refusal:
        admission.admit(10)
    assert refusal.value.retry_after_s == 5
