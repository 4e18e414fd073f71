"""What a local service was asked, for a test to count: no images, no keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmreward_client.testing.faults import Fault


@dataclass
class Asked:
    """One request of a scoring route.

    Attributes:
        number: of arrival, from 0.
        items: as they were sent, media as keys of the request's table.
        options: everything else of the body but the media.
        fault: what was done wrong, None if nothing was.
        status: of the HTTP answer; None while there is none, or where there was none.
        nulls: entries of the answer without a number.
    """

    number: int
    path: str
    request_id: str | None
    streamed: bool
    items: list[Any] = field(default_factory=list)
    options: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    status: int | None = None
    nulls: int = 0
    begun_s: float = field(default_factory=time.monotonic)
    seconds: float | None = None

    @property
    def deadline_ms(self) -> int | None:
        found = self.options.get("deadline_ms")
        return found if isinstance(found, int) else None

    @property
    def pin(self) -> str | None:
        return self.options.get("pin")
