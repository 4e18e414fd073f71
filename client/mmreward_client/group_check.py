"""Whether a group that came back is the one that was sent.

A trainer takes the scores of a group by their places, so a list that is one entry short would put
every following score on the wrong response. Believed is a group with one score entry per response,
none for a response that was said to be incomplete, and comparisons between responses that exist.
A group that failed as a whole may come without its lists; then they are filled with what they
mean, null and 0, so that the lists of every group have one entry per response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmreward_client.errors import ProtocolError
from mmreward_client.schema import GroupResult


@dataclass(frozen=True)
class GroupCheck:
    """What the groups of one request must look like when they come back.

    Attributes:
        complete: for each group, for each response, whether it takes part; None for a group whose
            responses are no list of the right length: it can only come back as `invalid`.
    """

    complete: tuple[tuple[bool, ...] | None, ...]

    @classmethod
    def of(cls, items: Sequence[Mapping[str, Any]]) -> GroupCheck:
        """The check of items in their wire form."""
        return cls(tuple(map(_complete, items)))

    def __call__(self, result: GroupResult) -> GroupResult:
        """The group as it came, its lists filled where it failed as a whole.

        Raises:
            ProtocolError: it is not the group that was sent.
        """
        complete = self.complete[result.index]
        where = f"group {result.index}"
        if complete is None:
            if result.status in ("ok", "partial"):
                raise ProtocolError(f"{where} is {result.status}, but was sent malformed")
            return result
        if not result.scores and result.status not in ("ok", "partial"):
            empty: dict[str, Any] = {
                "scores": [None] * len(complete),
                "scores_from": [0] * len(complete),
            }
            return result.model_copy(update=empty)
        if len(result.scores) != len(complete):
            raise ProtocolError(
                f"{where}: {len(complete)} responses sent, {len(result.scores)} scores came back"
            )
        for place, (score, whole) in enumerate(zip(result.scores, complete, strict=True)):
            if score is not None and not whole:
                raise ProtocolError(f"{where} scores response {place}, which is not complete")
        for one in result.comparisons:
            if not (0 <= one.first < len(complete) and 0 <= one.second < len(complete)):
                raise ProtocolError(
                    f"{where} compares {one.first} with {one.second} of {len(complete)} responses"
                )
        return result


def _complete(item: Mapping[str, Any]) -> tuple[bool, ...] | None:
    responses, complete = item.get("responses"), item.get("complete")
    if not isinstance(responses, list | tuple):
        return None
    if complete is None:
        return (True,) * len(responses)
    if not isinstance(complete, list | tuple) or len(complete) != len(responses):
        return None
    return tuple(map(bool, complete))
