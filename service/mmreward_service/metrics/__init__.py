"""Every metric of the service, defined once. No logic: callers say what happened.

`recorder.Metrics` holds them all, sorted by the question they answer:

    traffic     how much, how fast, how it ended: requests, stages, keys
    saturation  how full, how long without an answer, ready or not
    quality     what the model said: statuses, scores, margins, tokens
    pictures    what was looked at
    identity    what runs and what is served

docs/metrics.md is their list; a test compares.
"""

from __future__ import annotations

from mmreward_service.metrics.recorder import Metrics
from mmreward_service.metrics.traffic import Outcome

__all__ = ["Metrics", "Outcome"]
