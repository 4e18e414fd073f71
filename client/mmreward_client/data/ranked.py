"""Ranked responses: every two of different rank are a pair.

    {"id": "7", "images": "cat.png", "prompt": "What is it?",
     "responses": ["A cat.", "A dog.", "An animal."], "ranks": [1, 3, 2]}

A lower rank is better; equal ranks make no pair, nor do equal texts, which no ranking can tell
apart; null leaves a response out. MM-RLHF (arXiv 2502.10391, section on MM-DPO) trains on all pairs
of different rank, not on the best against the worst alone. The other columns are those of any table
of pairs (`columns.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.media import RowMedia
from mmreward_client.data.pair import PreferencePair
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.source import SourceRow

_OWN = ("responses", "ranks")


@dataclass(frozen=True)
class RankedPair:
    """A pair and the places of its answers in `responses`, from 0."""

    pair: PreferencePair
    chosen_place: int
    rejected_place: int


def is_ranked(fields: Mapping[str, Any]) -> bool:
    return all(fields.get(name) is not None for name in _OWN)


def pairs_of_ranked(
    row: SourceRow, media: RowMedia, columns: Columns | None = None
) -> list[RankedPair]:
    """The pairs of one row, better answers first in the order of the row.

    Raises:
        FileMissing: an image or a folder of frames is not there.
        FieldProblem: a field that cannot be used, or no two answers of different rank and text.
    """
    responses, ranks = _responses(row.fields), _ranks(row.fields)
    if len(ranks) != len(responses):
        raise FieldProblem("ranks", f"{len(ranks)} ranks of {len(responses)} responses")
    rest = {name: value for name, value in row.fields.items() if name not in _OWN}
    places = [
        (better, worse)
        for better, worse in permutations(range(len(responses)), 2)
        if _is_better(ranks[better], ranks[worse])
    ]
    if not places:
        raise FieldProblem("ranks", "no two responses of different rank")
    places = [(better, worse) for better, worse in places if responses[better] != responses[worse]]
    if not places:
        raise FieldProblem("responses", "those of different rank are all the same text")
    named = Columns() if columns is None else columns
    better, worse = places[0]
    fields = {**rest, named.chosen: responses[better], named.rejected: responses[worse]}
    # The media are read once, whatever the number of pairs.
    first = pair_of_row(replace(row, fields=fields), media, named)
    return [
        RankedPair(replace(first, chosen=responses[i], rejected=responses[j]), i, j)
        for i, j in places
    ]


def _is_better(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one < other


def _responses(fields: Mapping[str, Any]) -> list[str]:
    found = fields.get("responses")
    if not isinstance(found, list | tuple) or len(found) < 2:
        raise FieldProblem("responses", "not a list of two or more answers")
    for place, response in enumerate(found):
        if not isinstance(response, str) or not response.strip():
            raise FieldProblem(f"responses[{place}]", "no text")
    return list(found)


def _ranks(fields: Mapping[str, Any]) -> list[float | None]:
    found = fields.get("ranks")
    if not isinstance(found, list | tuple):
        raise FieldProblem("ranks", "not a list")
    for place, rank in enumerate(found):
        is_number = isinstance(rank, int | float) and not isinstance(rank, bool) and rank == rank
        if rank is not None and not is_number:
            raise FieldProblem(f"ranks[{place}]", f"{rank!r:.40} is no rank")
    return list(found)
