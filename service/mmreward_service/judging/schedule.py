"""Which responses are compared, and which of the two is shown first.

`all` takes every pair, K gives every response K opponents: its neighbours in a ring of the
responses, 1, 2, ... K // 2 places away on both sides, and for an odd K the one opposite. Where the
ring has no exact opposite and K is odd, K opponents for each cannot be had (n * K / 2 pairs is no
whole number): then one response has K + 1.

`both` shows every pair in both orders. `balanced` shows it once, each response first in half of its
games; whoever plays an odd number of games is first once more or once less than second.

The games are listed by distance in the ring, both orders of a pair side by side: wherever the list
is cut by a deadline, the responses have been judged about equally often, most pairs in both orders
or in none, and no response has been seen in one position only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmreward_client.schema import Orders

Comparisons = Literal["all"] | int


@dataclass(frozen=True)
class Game:
    """One comparison: indices of the response shown first and of the one shown second."""

    first: int
    second: int

    @property
    def players(self) -> tuple[int, int]:
        return self.first, self.second

    def swap(self) -> Game:
        return Game(self.second, self.first)


def schedule(count: int, comparisons: Comparisons, orders: Orders) -> list[Game]:
    """The games of `count` >= 2 different responses, or of one with itself where count is 1."""
    if count == 1:
        return [Game(0, 0)]
    once = _once(count, _opponents(count, comparisons))
    if orders == "balanced":
        return once
    return [game for pair in once for game in (pair, pair.swap())]


def number_of_games(count: int, comparisons: Comparisons, orders: Orders) -> int:
    """The length of `schedule` without making it: a request may ask for more than fits anywhere."""
    if count == 1:
        return 1
    pairs = -(-count * _opponents(count, comparisons) // 2)
    return pairs if orders == "balanced" else 2 * pairs


def _opponents(count: int, comparisons: Comparisons) -> int:
    return count - 1 if comparisons == "all" else min(comparisons, count - 1)


def _once(count: int, opponents: int) -> list[Game]:
    """Every pair once: first and second as even as they can be for every response.

    At each distance everybody is first towards the right and second towards the left, which is
    even. An odd number of opponents adds one game for each, with the opposite response.
    """
    games = [
        Game(i, (i + distance) % count)
        for distance in range(1, opponents // 2 + 1)
        for i in range(count)
    ]
    if opponents % 2 == 0:
        return games
    if count % 2 == 0:
        half = count // 2
        return games + [Game(i, i + half) if i % 2 == 0 else Game(i + half, i) for i in range(half)]
    # Steps of (n - 1) / 2 visit all of an odd ring: every second step pairs all but one, and the
    # last step pairs that one with whoever began, who is first once and second once.
    step = (count - 1) // 2
    return games + [Game(k * step % count, (k + 1) * step % count) for k in range(0, count, 2)]
