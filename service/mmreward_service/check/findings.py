"""What a check found: sentences with a topic and a weight, gathered, never raised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Weight = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """`ok`: looked at and right. `note`: worth knowing. `problem`: the service would refuse, or
    scores would be wrong."""

    weight: Weight
    topic: str
    text: str


@dataclass
class Findings:
    """Gathers; every problem is named, not only the first."""

    found: list[Finding] = field(default_factory=list)

    def ok(self, topic: str, text: str) -> None:
        self.found.append(Finding("ok", topic, text))

    def note(self, topic: str, text: str) -> None:
        self.found.append(Finding("note", topic, text))

    def problem(self, topic: str, text: str) -> None:
        self.found.append(Finding("problem", topic, text))

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.found if finding.weight == "problem"]

    @property
    def would_serve(self) -> bool:
        return not self.problems
