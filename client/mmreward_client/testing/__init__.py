"""A scoring service for the tests of trainers: real HTTP on this machine, no model, chosen faults.

    from mmreward_client import RewardClient
    from mmreward_client.testing import Fault, LocalService

    def test_my_loop_survives_overload():
        with LocalService(faults=[Fault("overloaded", retry_after_s=1)]) as service:
            run_my_loop(RewardClient(service.url, pin="first"))
        assert service.injected["overloaded"] == 1

It speaks the contract as the service does: the same routes, shapes, statuses, errors, pins and
streams. Needs nothing beyond the client itself.
"""

from __future__ import annotations

from mmreward_client.testing.answers import ComputedAnswers, RecordedAnswers, Side
from mmreward_client.testing.faults import KINDS, Fault, FaultPlan
from mmreward_client.testing.record import Asked
from mmreward_client.testing.service import LocalService

__all__ = [
    "KINDS",
    "Asked",
    "ComputedAnswers",
    "Fault",
    "FaultPlan",
    "LocalService",
    "RecordedAnswers",
    "Side",
]
