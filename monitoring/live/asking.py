"""Grafana's part of a panel: variables filled in, each question asked, over a stretch of time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from live.prometheus import Prometheus

ALL = {"job": "mmreward.*", "instance": ".*", "model": ".*", "trainer": ".*"}


def filled(expression: str, *, rate_window: str, chosen: Mapping[str, str] = ALL) -> str:
    """A question with Grafana's variables replaced.

    Raises:
        KeyError: it holds a variable that is not known here.
    """
    values = {**chosen, "__rate_interval": rate_window}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


@dataclass(frozen=True)
class Answer:
    """What one question of a panel came to: its legend, and the series."""

    legend: str
    series: list[dict[str, Any]]

    def name(self, metric: Mapping[str, str]) -> str:
        """The legend of one series."""
        return re.sub(r"{{(\w+)}}", lambda found: metric.get(found[1], ""), self.legend)


def answers(
    prometheus: Prometheus,
    panel: Mapping[str, Any],
    *,
    seconds: float,
    step_s: float,
    rate_window: str,
) -> list[Answer]:
    """All questions of a rendered panel over the last seconds; a table is asked for now."""
    found = []
    for target in panel["targets"]:
        expression = filled(target["expr"], rate_window=rate_window)
        series = (
            prometheus.series(expression)
            if target["instant"]
            else prometheus.history(expression, seconds=seconds, step_s=step_s)
        )
        found.append(Answer(target["legendFormat"], series))
    return found
