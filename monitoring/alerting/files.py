"""Rules as the YAML files that Prometheus reads."""

from __future__ import annotations

from typing import Any

import yaml

from alerting.alerts import alert_rules
from alerting.clock import Clock
from alerting.recording import recording_rules

RUNBOOKS = "docs/runbooks.md"
_HEAD = "# Written by monitoring/generate.py; change it there.\n"


def rule_files(scale: float = 1.0, runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Text by file name.

    Args:
        scale: of time; 1 is what is shipped, less is for tests.
        runbooks: address of the page that the alerts point to.
    """
    clock = Clock(scale)
    return {
        "recording.yml": _text(recording_rules(clock)),
        "alerts.yml": _text(alert_rules(clock, runbooks)),
    }


def _text(groups: dict[str, Any]) -> str:
    content = {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}
    return _HEAD + yaml.dump(
        content, Dumper=_Blocks, sort_keys=False, width=1000, allow_unicode=True
    )


class _Blocks(yaml.SafeDumper):
    """Expressions of several lines stay several lines."""


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Blocks.add_representer(str, _string)
