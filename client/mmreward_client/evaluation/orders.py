"""What a judge does when two answers change places: accuracy of each order, consistency, bias.

A judge compares each pair twice, once with the chosen answer shown first and once with it second.
ACC is of the mean of both. Beside it stand

    acc_chosen_first, acc_chosen_second   right pairs of one order alone; a tie is wrong
    acc_one_order                         the mean of the two: what a judge that is asked once, in
                                          an order drawn at random, is expected to have
    order_consistency                     pairs in which both orders have the same winner; two ties
                                          agree, a tie and a winner do not
    first_wins                            of all judgements with a winner, those in which it is the
                                          answer shown first: one half is no position bias
    ties                                  of all judgements, those without a winner

over the pairs that have both orders; a pair of which one order failed has failed. The two
judgements of a pair are not independent, and pairs of one id are not either: `acc_one_order`,
`first_wins` and `ties` have a bootstrap over ids (`intervals.py`), the others, with one outcome for
each pair, Wilson's interval. Where all ids are alike the bootstrap would claim certainty; then
Wilson's interval over judgements is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmreward_client.evaluation.intervals import SEED, Interval, bootstrap, wilson
from mmreward_client.evaluation.judged import Judged, by_id

Tally = tuple[int, int]
"""Hits, and out of how many."""


@dataclass(frozen=True)
class Share:
    """Hits of a total with its 95 % interval; both None where there is nothing to share."""

    hits: int
    total: int
    ci95: Interval | None

    @property
    def share(self) -> float | None:
        return self.hits / self.total if self.total else None


@dataclass(frozen=True)
class OrderFigures:
    """The figures named above, over `pairs` pairs."""

    pairs: int
    acc_chosen_first: Share
    acc_chosen_second: Share
    acc_one_order: Share
    order_consistency: Share
    first_wins: Share
    ties: Share


def measure_orders(pairs: Iterable[Judged], *, seed: int = SEED) -> OrderFigures | None:
    """The figures of these pairs; None where no pair has both orders, as of a critique model."""
    questions = [
        [pair.orders for pair in question if pair.orders is not None and pair.rewards is not None]
        for question in by_id(pairs).values()
    ]
    questions = [question for question in questions if question]
    deltas = [both for question in questions for both in question]
    if not deltas:
        return None
    count = len(deltas)

    def by_pair(hits: int) -> Share:
        return Share(hits, count, wilson(hits, count))

    return OrderFigures(
        pairs=count,
        acc_chosen_first=by_pair(sum(forward > 0 for forward, _ in deltas)),
        acc_chosen_second=by_pair(sum(backward > 0 for _, backward in deltas)),
        acc_one_order=_by_question([_right(question) for question in questions], seed),
        order_consistency=by_pair(sum(_sign(one) == _sign(other) for one, other in deltas)),
        first_wins=_by_question([_first_wins(question) for question in questions], seed),
        ties=_by_question([_ties(question) for question in questions], seed),
    )


def _by_question(tallies: Sequence[Tally], seed: int) -> Share:
    counted = [tally for tally in tallies if tally[1]]
    hits, total = sum(hits for hits, _ in counted), sum(total for _, total in counted)
    return Share(hits, total, bootstrap(counted, seed) or wilson(hits, total))


def _right(question: Sequence[tuple[float, float]]) -> Tally:
    return sum((one > 0) + (other > 0) for one, other in question), 2 * len(question)


def _first_wins(question: Sequence[tuple[float, float]]) -> Tally:
    """δ is score(chosen) - score(rejected) in both orders; in the second, rejected is first."""
    won = sum((one > 0) + (other < 0) for one, other in question)
    return won, 2 * len(question) - _ties(question)[0]


def _ties(question: Sequence[tuple[float, float]]) -> Tally:
    return sum((one == 0) + (other == 0) for one, other in question), 2 * len(question)


def _sign(delta: float) -> int:
    return (delta > 0) - (delta < 0)
