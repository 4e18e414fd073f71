"""Groups for people: a table per group, best response first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmreward_client.cli.render import number, status
from mmreward_client.schema import GroupResult

_MOST_CHARACTERS = 72


def ranks(scores: Sequence[float | None]) -> list[int | None]:
    """The place of each score, from 1; equal scores share a place, None has none."""
    known = [score for score in scores if score is not None]
    return [
        None if score is None else 1 + sum(other > score for other in known) for score in scores
    ]


def show_group(console: Console, result: GroupResult, label: str, responses: Sequence[str]) -> None:
    """Name and status, the table, and the comparisons that failed."""
    console.print(heading(result, label), soft_wrap=True)
    if result.scores:
        console.print(group_table(result, responses))
    failed = Counter(one.status for one in result.comparisons if one.status != "ok")
    if failed:
        named = ", ".join(f"{count} {name}" for name, count in failed.most_common())
        said = f"{failed.total()} of {len(result.comparisons)} comparisons failed: {named}"
        console.print(Text(said, style="yellow"), soft_wrap=True)
    elif result.error is not None:
        console.print(Text(result.error, style="red"), soft_wrap=True)


def heading(result: GroupResult, label: str) -> Text:
    said = Text(label, style="bold") + Text("  ") + status(result.status)
    if result.order_consistency is not None:
        said += Text(f"  order consistency {number(result.order_consistency, 2)}")
    return said


def group_table(result: GroupResult, responses: Sequence[str]) -> Table:
    """A line per response: rank, score, how many comparisons it rests on, place, text."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rank", "score", "from", "#"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("response", overflow="fold")
    placed = ranks(result.scores)
    order = sorted(range(len(placed)), key=lambda at: (placed[at] is None, placed[at] or 0, at))
    for at in order:
        table.add_row(
            "-" if placed[at] is None else str(placed[at]),
            number(result.scores[at]),
            str(result.scores_from[at]),
            str(at),
            Text(shortened(responses[at])),
        )
    return table


def shortened(text: str) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"
