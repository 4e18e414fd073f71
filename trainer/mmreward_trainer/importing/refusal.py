"""Why a source cannot be imported."""

from __future__ import annotations

from collections.abc import Sequence


class ImportRefused(ValueError):
    """The source is not what its form says, or cannot be served. `reasons` names all of them."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons: Sequence[str] = reasons
