"""How a data set is asked about: answer by answer, or group by group before a judge.

The two ways share everything else of the command; what differs is here: the route, the file that
answers are collected in, and how a pair reads its two scores from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mmreward_client.annotation.cases import Case
from mmreward_client.annotation.judgements import GroupFile, GroupScores, read_groups
from mmreward_client.annotation.scores import ScoreFile, SideScore, read_scores
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.schema import (
    GroupItem,
    GroupResult,
    GroupsReply,
    Kind,
    ModelCard,
    ScoreItem,
    ScoreReply,
    ScoreResult,
)
from mmreward_client.sync import RewardClient

_NOT_ASKED = SideScore("internal", None, None, "was not scored")


@dataclass(frozen=True)
class Sides:
    """Two scores of a pair.

    Attributes:
        orders: of a judge: δ of this pair alone, the chosen answer first and second.
        is_calibrated: whether a calibration of pairs is one of such scores.
    """

    chosen: SideScore
    rejected: SideScore
    orders: list[float] | None = None
    is_calibrated: bool = True


class AnswerFile(Protocol):
    """What the command uses of the file that answers are collected in."""

    @property
    def path(self) -> Path: ...

    @property
    def answered(self) -> Collection[Any]: ...

    def holds(self, key: str) -> bool: ...

    def add(self, result: Any) -> None:
        """Write an answer; once this returns, a kill does not lose it."""


class OneByOne:
    """A critique model scores each answer by itself.

    Attributes:
        unit: what is asked about, in the plural, for messages and the summary.
        request: what of the way the answers depend on.
    """

    kind: Kind = "critique"
    unit = "responses"
    request: Mapping[str, Any] = {}  # files of scores from before there were judges stay good
    item_kind = ScoreItem
    result_kind = ScoreResult

    def ask(
        self, client: RewardClient, items: Sequence[Any], options: Mapping[str, Any]
    ) -> ScoreReply:
        return client.score(items, **options)

    def file(self, path: Path, origin: Origin, keys: Collection[str]) -> ScoreFile:
        return ScoreFile(path, origin, keys)

    def read(self, path: Path) -> Mapping[str, Any]:
        return read_scores(path)

    def sides(self, case: Case, known: Mapping[str, SideScore]) -> Sides:
        assert case.keys is not None
        chosen, rejected = (known.get(key, _NOT_ASKED) for key in case.keys)
        return Sides(chosen, rejected)


class Compared:
    """A judge compares the answers of a group, all of them, each two in both orders."""

    kind: Kind = "judge"
    unit = "groups"
    request: Mapping[str, Any] = {
        "kind": "judge",
        "orders": "both",
        "comparisons": "all",
        "aggregate": "mean",
    }
    item_kind = GroupItem
    result_kind = GroupResult

    def ask(
        self, client: RewardClient, items: Sequence[Any], options: Mapping[str, Any]
    ) -> GroupsReply:
        return client.groups(items, orders="both", comparisons="all", aggregate="mean", **options)

    def file(self, path: Path, origin: Origin, keys: Collection[str]) -> GroupFile:
        return GroupFile(path, origin, keys)

    def read(self, path: Path) -> Mapping[str, Any]:
        return read_groups(path)

    def sides(self, case: Case, known: Mapping[str, GroupScores]) -> Sides:
        assert case.pair is not None
        assert case.keys is not None
        found = known.get(case.keys[0])
        if found is None or len(found.sides) != len(case.group):
            return Sides(_NOT_ASKED, _NOT_ASKED)
        chosen, rejected = map(case.group.index, (case.pair.chosen, case.pair.rejected))
        # A calibration is fitted on pairs; a score over more opponents is less noisy.
        return Sides(
            found.sides[chosen],
            found.sides[rejected],
            found.orders(chosen, rejected),
            is_calibrated=len(case.group) == 2,
        )


Asking = OneByOne | Compared


def asking_for(kind: str | None, card: ModelCard) -> Asking:
    """The way for a kind; None: what the model is, critique where it is both."""
    if kind is None:
        kind = "critique" if "critique" in card.kinds else "judge"
    return Compared() if kind == "judge" else OneByOne()
