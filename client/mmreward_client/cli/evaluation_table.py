"""The report of an evaluation for people: a table, what failed, and what it must be read beside."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_LEGEND = (
    "ACC: chosen strictly above rejected, ties wrong; [] 95 % over pairs, () 95 % over ids. "
    "ACC+: ids all of whose pairs are right."
)


_ORDERS_LEGEND = (
    "A judge sees each pair in both orders; ACC above is of their mean. one order: the mean of the "
    "two. consistent: both name the same winner. first wins: of judgements with a winner, the "
    "answer shown first; 0.5 is no position bias."
)

_ORDER_COLUMNS = {
    "acc_chosen_first": "chosen first ACC",
    "acc_chosen_second": "chosen second ACC",
    "acc_one_order": "one order ACC",
    "order_consistency": "consistent",
    "first_wins": "first wins",
    "ties": "ties",
}

# A narrower table would lose columns; a terminal breaks its lines instead.
_LEAST_COLUMNS = 150


def show(report: dict[str, Any]) -> None:
    """Table, baselines in every row; failures by name where there are any."""
    console = Console()
    console.width = max(console.width, _LEAST_COLUMNS)
    console.print(table(report))
    console.print(_LEGEND, style="bright_black", soft_wrap=True, markup=False)
    if report["overall"]["orders"] is not None:
        console.print(orders_table(report))
        console.print(_ORDERS_LEGEND, style="bright_black", soft_wrap=True, markup=False)
    if report["macro_acc"] is not None:
        console.print(f"mean of the categories: {share(report['macro_acc'])}", soft_wrap=True)
    if report["calibration"] is not None:
        found = report["calibration"]
        console.print(
            f"prob: expected calibration error {share(found['ece'])}, Brier score "
            f"{share(found['brier'])} over {found['pairs']} pairs",
            soft_wrap=True,
        )
    overall = report["overall"]
    if overall["failed"]:
        named = ", ".join(f"{count} {status}" for status, count in overall["failures"].items())
        console.print(
            f"{overall['failed']} of {overall['pairs']} pairs failed ({named}): coverage "
            f"{share(overall['coverage'])}. ACC and ACC+ above are over scored pairs; "
            f"with failures as wrong: ACC {share(overall['acc_failed_as_wrong'])}, "
            f"ACC+ {share(overall['acc_plus_failed_as_wrong'])}",
            soft_wrap=True,
            markup=False,
        )


def table(report: dict[str, Any]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column(report["benchmark"], no_wrap=True)
    for name in ("pairs", "scored", "ids", "ACC", "95 %", "by id", "ACC+", "by id"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in ("random ACC", "ACC+", "longer ACC", "ACC+"):
        made.add_column(name, justify="right", no_wrap=True, style="bright_black")
    for name, figures in [*report["categories"].items(), ("overall", report["overall"])]:
        # Text: a category of someone's own file may look like markup.
        made.add_row(*map(Text, [name, *_cells(figures)]))
    return made


def orders_table(report: dict[str, Any]) -> Table:
    """The figures of a judge's two orders, each with its 95 % interval."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("both orders", no_wrap=True)
    made.add_column("pairs", justify="right", no_wrap=True)
    for name in _ORDER_COLUMNS.values():
        made.add_column(name, justify="right", no_wrap=True)
    for name, figures in [*report["categories"].items(), ("overall", report["overall"])]:
        found = figures["orders"]
        cells = ["0", *["-"] * len(_ORDER_COLUMNS)]
        if found is not None:
            shown = (
                f"{share(found[key])} {interval(found[f'{key}_ci95'], '[]')}"
                for key in _ORDER_COLUMNS
            )
            cells = [str(found["pairs"]), *shown]
        made.add_row(*map(Text, [name, *cells]))
    return made


def _cells(figures: dict[str, Any]) -> list[str]:
    random, longer = figures["baselines"]["random"], figures["baselines"]["longer_wins"]
    return [
        str(figures["pairs"]),
        str(figures["scored"]),
        str(figures["ids"]),
        share(figures["acc"]),
        interval(figures["acc_ci95"], "[]"),
        interval(figures["acc_ci95_by_id"], "()"),
        share(figures["acc_plus"]),
        interval(figures["acc_plus_ci95"], "()"),
        share(random["acc"]),
        share(random["acc_plus"]),
        share(longer["acc"]),
        share(longer["acc_plus"]),
    ]


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def interval(ends: list[float] | None, brackets: str) -> str:
    if ends is None:
        return "-"
    return f"{brackets[0]}{ends[0]:.2f}, {ends[1]:.2f}{brackets[1]}"
