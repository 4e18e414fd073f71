"""95 % intervals of ACC and ACC+.

Wilson's interval (E. B. Wilson, 1927, "Probable inference") takes pairs as independent draws. Pairs
of one question are not: they share the picture and, mostly, responses, so an interval of ACC over
pairs is too narrow where questions have several pairs. Beside it therefore stands a bootstrap that
draws whole questions (percentile method, seeded, hence repeatable). ACC+ has one outcome per
question and is bootstrapped over questions as well; with none or all of them right every resample
is the same and the bootstrap would claim certainty, so Wilson's interval over questions is given.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from mmreward_client.evaluation.judged import Judged, by_id

Interval = tuple[float, float]

Z95 = 1.959963984540054
RESAMPLES = 2000
SEED = 0
# Drawing is linear in the number of questions; so many draws are enough for percentiles.
_MOST_DRAWS = 4_000_000


def wilson(right: int, total: int, *, z: float = Z95) -> Interval | None:
    """Wilson's score interval of a share, None without trials.

    Raises:
        ValueError: not 0 <= right <= total.
    """
    if not 0 <= right <= total:
        raise ValueError(f"{right} right of {total}")
    if total == 0:
        return None
    share = right / total
    centre = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the two terms cancel exactly, up to rounding.
    low = 0.0 if right == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if right == total else min(1.0, (centre + half) / scale)
    return low, high


def acc_by_id(pairs: Iterable[Judged], *, seed: int = SEED) -> Interval | None:
    """Bootstrap interval of ACC over whole questions; None where they are one, or all alike."""
    tallies = []
    for question in by_id(pairs).values():
        rights = [pair.is_right for pair in question if pair.is_right is not None]
        if rights:
            tallies.append((sum(rights), len(rights)))
    return bootstrap(tallies, seed)


def acc_plus_by_id(pairs: Iterable[Judged], *, seed: int = SEED) -> Interval | None:
    """Interval of ACC+ over the questions all of whose pairs are scored."""
    rights = [[pair.is_right for pair in question] for question in by_id(pairs).values()]
    outcomes = [all(right) for right in rights if None not in right]
    if len(set(outcomes)) < 2:
        return wilson(sum(outcomes), len(outcomes))
    return bootstrap([(int(outcome), 1) for outcome in outcomes], seed)


def bootstrap(tallies: list[tuple[int, int]], seed: int) -> Interval | None:
    """Percentiles 2.5 and 97.5 of right / total when (right, total) tallies are drawn anew.

    One tally per question, every total above 0. None where there is one question, or all alike.
    """
    count = len(tallies)
    if count < 2:
        return None
    generator = random.Random(seed)
    resamples = max(200, min(RESAMPLES, _MOST_DRAWS // count))
    shares = []
    for _ in range(resamples):
        drawn = generator.choices(tallies, k=count)
        shares.append(sum(right for right, _ in drawn) / sum(total for _, total in drawn))
    shares.sort()
    low, high = _percentile(shares, 0.025), _percentile(shares, 0.975)
    # Questions that are all alike tell nothing of how far others may differ.
    return (low, high) if low < high else None


def _percentile(ordered: list[float], share: float) -> float:
    """Linear between the two nearest ranks."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
