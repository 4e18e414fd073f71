"""A dashboard: rows of panels laid out on 24 columns, and the variables that they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from boards.panel import DATA_SOURCE, Panel

COLUMNS = 24
_STAT_HEIGHT = 4
_HEIGHT = 8


@dataclass(frozen=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """One dashboard; `uid` is the end of its address and the name of its file."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    has_trainer: bool = False

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]

    def render(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["mmreward"],
            "schemaVersion": 39,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "type": "dashboards",
                    "title": "mmreward",
                    "tags": ["mmreward"],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                }
            ],
            "templating": {"list": list(self._variables())},
            "annotations": {"list": [_ALERTS]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[dict[str, Any]]:
        number, y = 0, 0
        for row in self.rows:
            number += 1
            yield {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                "panels": [],
            }
            y += 1
            x = height = 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y = 0, y + height
                height = _STAT_HEIGHT if panel.kind == "stat" else _HEIGHT
                number += 1
                yield panel.render(number, {"x": x, "y": y, "w": panel.width, "h": height})
                x += panel.width
            y += height

    def _variables(self) -> Iterator[dict[str, Any]]:
        yield {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "hide": 0,
        }
        yield _choice("job", "Job", "label_values(mmreward_ready, job)")
        yield _choice(
            "model", "Model", 'label_values(mmreward_items_total{job=~"$job"}, model)', ".*"
        )
        yield _choice(
            "instance", "Instance", 'label_values(mmreward_ready{job=~"$job"}, instance)', ".*"
        )
        if self.has_trainer:
            yield _choice("trainer", "Trainer", "label_values(mmreward_client_calls_total, job)")


def _choice(name: str, label: str, query: str, all_of_them: str | None = None) -> dict[str, Any]:
    """A variable to choose from; `all_of_them` is what "All" asks for, None the listed values.

    Jobs must be the listed ones: `up` is there for every job that Prometheus has.
    """
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": all_of_them,
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
    }


_ALERTS = {
    "name": "Alerts",
    "datasource": DATA_SOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertname=~"Reward.*",alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{job}}",
}
