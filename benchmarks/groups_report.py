"""The table of `groups.py`: each way beside `one_by_one` on the same group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring.report import write_result
from measuring.rounds import spread

BASELINE = "one_by_one"
_LABELS = {
    "group": "one request, both orders",
    "balanced": "one request, balanced",
    "apart": "a request each, caches on",
    "one_by_one": "a request each, no caches",
}
GOAL = 3.0
"""Times fewer computed prompt tokens than one by one, at eight answers."""

Entry = dict[str, Any]


def summary(measured: list[Entry], ways: list[str]) -> list[Entry]:
    """Per number of answers and way: medians over the groups, and ratios group by group."""
    found = []
    for answers in sorted({one["answers"] for one in measured}):
        of_size = [one for one in measured if one["answers"] == answers]
        base = {one["group"]: one for one in of_size if one["way"] == BASELINE}
        for way in ways:
            ones = [one for one in of_size if one["way"] == way]
            pictures = [one["engine"].get("pictures_encoded") for one in ones]
            found.append(
                {
                    "answers": answers,
                    "way": way,
                    "groups": len(ones),
                    "comparisons": ones[0]["comparisons"],
                    "prompt_tokens": spread([one["prompt_tokens"] for one in ones], 1),
                    "computed_tokens": spread([one["computed_tokens"] for one in ones], 1),
                    "wall_s": spread([one["wall_s"] for one in ones], 2),
                    "pictures_encoded": None if None in pictures else pictures,
                    "times_fewer_tokens": _ratios(ones, base, lambda one: one["computed_tokens"]),
                    "times_faster": _ratios(ones, base, lambda one: one["wall_s"]),
                }
            )
    return found


def _ratios(ones: list[Entry], base: dict[str, Entry], of: Callable[[Entry], float]) -> Entry:
    return spread([of(base[one["group"]]) / of(one) for one in ones], 2)


def report(result: dict[str, Any], path: Path) -> None:
    """Table and remarks, as markdown and on the terminal."""
    rows = result["summary"] = summary(result["measured"], result["ways"])
    header = (
        "answers",
        "way",
        "comparisons",
        "prompt tokens",
        "computed",
        "times fewer",
        "range",
        "pictures encoded",
        "seconds",
        "times faster",
        "range",
    )
    groups = {row["answers"]: row["groups"] for row in rows}
    caption = (
        f"{result['pictures']}, {result['parameters'] / 1e6:.1f} M parameters, {result['dtype']}, "
        f"judgements of {result['max_tokens']} tokens; medians over "
        + ", ".join(f"{count} groups of {answers}" for answers, count in groups.items())
    )
    write_result(
        path,
        result,
        f"Groups of answers, {result['size']} model",
        [(caption, header, [_cells(row) for row in rows])],
        remarks(rows, result["measured"]),
    )


def _cells(row: Entry) -> tuple[str, ...]:
    fewer, faster, pictures = (
        row["times_fewer_tokens"],
        row["times_faster"],
        row["pictures_encoded"],
    )
    block = row["way"].removeprefix("block_")
    return (
        str(row["answers"]),
        _LABELS.get(row["way"]) or f"one request, both orders, blocks of {block}",
        str(row["comparisons"]),
        f"{row['prompt_tokens']['median']:.0f}",
        f"{row['computed_tokens']['median']:.0f}",
        f"{fewer['median']:.2f}",
        f"{fewer['min']:.2f} - {fewer['max']:.2f}",
        "not counted" if pictures is None else ", ".join(map(str, sorted(set(pictures)))),
        f"{row['wall_s']['median']:.2f}",
        f"{faster['median']:.2f}",
        f"{faster['min']:.2f} - {faster['max']:.2f}",
    )


def remarks(rows: list[Entry], measured: list[Entry]) -> list[str]:
    """The goal, and whether the replies and the engine count the same."""
    lines = []
    for row in rows:
        if row["answers"] == 8 and row["way"] == "group":
            fewer = row["times_fewer_tokens"]
            lines.append(
                f"Eight answers, both orders: {fewer['median']:.2f} times fewer computed prompt "
                f"tokens (goal: {GOAL:.0f}), pictures encoded per group: {row['pictures_encoded']}."
            )
    counted = [one for one in measured if "prefix_cache_hits" in one["engine"]]
    differing = [
        one
        for one in counted
        if one["engine"]["prompt_tokens"] != one["prompt_tokens"]
        or one["engine"]["prefix_cache_hits"] != one["cached_tokens"]
    ]
    if counted:
        lines.append(
            f"Prompt tokens and cached tokens of the replies beside vLLM's own counters: "
            f"{len(counted) - len(differing)} of {len(counted)} measurements agree exactly."
        )
    statuses: dict[str, int] = {}
    for one in measured:
        for status, count in one["statuses"].items():
            statuses[status] = statuses.get(status, 0) + count
    lines.append(
        "Items by status: "
        + ", ".join(f"{status} {count}" for status, count in sorted(statuses.items()))
        + ". A model with random weights writes no scores, and none of them can be ok."
    )
    return lines
