"""Recording rules and alerts as plain Python, on one time scale."""

from __future__ import annotations

from alerting.files import rule_files

__all__ = ["rule_files"]
