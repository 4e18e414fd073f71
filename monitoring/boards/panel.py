"""Panels as Grafana's JSON wants them: a number, lines over time, a heat map, a table.

One place decides how things look, so that a colour means the same everywhere. What is left out:
thresholds that turn numbers red. Where a number is bad, an alert says so, with a runbook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NO_TRAFFIC = [
    {
        "type": "special",
        "options": {"match": "nan", "result": {"text": "No traffic", "index": 0}},
    }
]
COLOURS = {
    "p50": "green", "p90": "yellow", "p95": "orange", "p99": "red",
    "ok": "green", "invalid": "yellow", "overloaded": "orange", "deadline": "purple",
    "cancelled": "blue", "error": "red", "internal": "red", "truncated": "orange",
    "unparsed": "purple", "not_finite": "dark-red", "image_error": "yellow",
    "stop": "green", "length": "orange", "abort": "blue", "limit": "red",
}  # fmt: skip
Kind = Literal["stat", "timeseries", "heatmap", "table"]


@dataclass(frozen=True)
class Panel:
    """One panel: what it is called, what it says, what it asks.

    Args:
        description: one sentence.
        unit: an id of Grafana's units.
        queries: legend to PromQL. A legend may hold `{{label}}`.
        width: of 24 columns.
        stacked: lines on top of each other, for parts of a whole.
        empty_because: when the queries may rightly have no series, why.
        exemplars: dots for single requests, which carry their id.
    """

    kind: Kind
    title: str
    description: str
    unit: str
    queries: Mapping[str, str] = field(hash=False)
    width: int = 8
    stacked: bool = False
    maximum: float | None = None
    empty_because: str | None = None
    exemplars: bool = False

    def render(self, number: int, place: Mapping[str, int]) -> dict[str, Any]:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATA_SOURCE,
            "gridPos": dict(place),
            "targets": [
                self._target(letter, legend, expression)
                for letter, (legend, expression) in zip(
                    "ABCDEFGH", self.queries.items(), strict=False
                )
            ],
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": self._options(),
            **self._transformations(),
        }

    def _target(self, letter: str, legend: str, expression: str) -> dict[str, Any]:
        once = self.kind == "table"
        return {
            "refId": letter,
            "datasource": DATA_SOURCE,
            "expr": expression,
            "legendFormat": "{{le}}" if self.kind == "heatmap" else legend,
            "format": self.kind if self.kind in ("heatmap", "table") else "time_series",
            "exemplar": self.exemplars,
            "instant": once,
            "range": not once,
        }

    def _options(self) -> dict[str, Any]:
        if self.kind != "heatmap":
            return _OPTIONS[self.kind]
        # The bounds of the buckets are an axis of their own here, with a unit of its own.
        return {**_OPTIONS["heatmap"], "yAxis": {"axisPlacement": "left", "unit": self.unit}}

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit, "mappings": NO_TRAFFIC}
        if self.maximum is not None:
            defaults |= {"min": 0, "max": self.maximum}
        if self.kind == "timeseries":
            defaults["color"] = {"mode": "palette-classic"}
            defaults["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 30 if self.stacked else 5,
                "showPoints": "never",
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            }
        elif self.kind == "stat":
            defaults["color"] = {"mode": "fixed", "fixedColor": "text"}
        return defaults

    def _overrides(self) -> list[dict[str, Any]]:
        if self.kind != "timeseries":
            return []
        spread = any("{{" in legend for legend in self.queries)
        names: Sequence[str] = list(COLOURS) if spread else list(self.queries)
        return [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [
                    {"id": "color", "value": {"mode": "fixed", "fixedColor": COLOURS[name]}}
                ],
            }
            for name in names
            if name in COLOURS
        ]

    def _transformations(self) -> dict[str, Any]:
        if self.kind != "table":
            return {}
        hidden = dict.fromkeys(("Time", "Value", "__name__", "job"), True)
        organise = {"id": "organize", "options": {"excludeByName": hidden}}
        return {"transformations": [organise]}


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
        "tooltip": {"mode": "single", "yHistogram": True},
        "legend": {"show": True},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}


def stat(
    title: str, description: str, unit: str, expression: str, by: str = "", **rest: Any
) -> Panel:
    """A number, or one for each value of the label `by`."""
    rest.setdefault("width", 4)
    legend = f"{{{{{by}}}}}" if by else title
    return Panel("stat", title, description, unit, {legend: expression}, **rest)


def lines(
    title: str, description: str, unit: str, queries: Mapping[str, str], **rest: Any
) -> Panel:
    return Panel("timeseries", title, description, unit, queries, **rest)


def heat_map(title: str, description: str, unit: str, expression: str, **rest: Any) -> Panel:
    return Panel("heatmap", title, description, unit, {"{{le}}": expression}, **rest)


def table(title: str, description: str, expression: str, **rest: Any) -> Panel:
    return Panel("table", title, description, "none", {title: expression}, **rest)
