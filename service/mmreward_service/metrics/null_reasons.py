"""Why numbers of a result are null, one reason for each.

`mmreward_items_total` says it of scores and pairs, which have one number each. A group has one per
response and may be `partial` or even `ok` with nulls in it. What is counted here is what a client
counts as nulls of a reply.
"""

from __future__ import annotations

from typing import Literal

from mmreward_client.schema import GroupItem, GroupResult, PairResult, ScoreResult, Status

NullReason = Literal[
    "incomplete",
    "invalid",
    "unparsed",
    "truncated",
    "not_finite",
    "image_error",
    "too_long",
    "deadline",
    "overloaded",
    "internal",
]
"""A status that is a failure, or `incomplete`: the caller said so of a response of a group."""


def null_reasons(
    result: ScoreResult | PairResult | GroupResult, item: object = None
) -> list[NullReason]:
    """One reason per null of a result; `item` is what it answers, if that could be read."""
    if not isinstance(result, GroupResult):
        reason = _failure(result.status)
        return [] if reason is None else [reason]
    if None not in result.scores:
        return []
    complete = item.complete if isinstance(item, GroupItem) else None
    return [
        "incomplete"
        if complete is not None and not complete[index]
        else _of_response(result, index)
        for index, score in enumerate(result.scores)
        if score is None
    ]


def _of_response(result: GroupResult, index: int) -> NullReason:
    """That of the first failed comparison of the response, else that of any.

    A copy of another response is compared under the index of the first.
    """
    failed = [one for one in result.comparisons if one.status != "ok"]
    own = [one.status for one in failed if index in (one.first, one.second)]
    statuses = [*own, *(one.status for one in failed), result.status]
    return next((reason for status in statuses if (reason := _failure(status))), "internal")


def _failure(status: Status) -> NullReason | None:
    return None if status == "ok" or status == "partial" else status
