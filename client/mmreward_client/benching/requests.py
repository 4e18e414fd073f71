"""What is sent: the rows of a file, in turn, again and again, without ever repeating itself.

A service remembers what it has read. The same picture under several answers is what a trainer
sends, and fast because of that; the same answer twice is not, and a load that repeated itself
would measure the memory. So a row that comes round again has its round appended to every answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal

Route = Literal["score", "pairs", "groups"]

ANSWERS: Mapping[Route, tuple[str, ...]] = {
    "score": ("response",),
    "pairs": ("chosen", "rejected"),
    "groups": ("responses",),
}
"""The fields with answers, by route."""


def route_of(item: Mapping[str, Any]) -> Route | None:
    """The route whose answers a row has; None where it has none, or those of two."""
    found: list[Route] = [
        route for route, names in ANSWERS.items() if all(name in item for name in names)
    ]
    return found[0] if len(found) == 1 else None


def endless_batches(
    items: Sequence[dict[str, Any]], route: Route, batch_size: int
) -> Iterator[list[dict[str, Any]]]:
    """Batches of items without an end; from the second round on, the round is in the answers."""
    stream = (_of_round(item, route, turn) for turn in count() for item in items)
    while True:
        yield [next(stream) for _ in range(batch_size)]


def _of_round(item: dict[str, Any], route: Route, turn: int) -> dict[str, Any]:
    if turn == 0:
        return item
    changed = dict(item)
    for name in ANSWERS[route]:
        value = item[name]
        changed[name] = (
            [f"{one} [{turn}]" for one in value] if route == "groups" else (f"{value} [{turn}]")
        )
    return changed
