"""The figures of a load as a table for people."""

from __future__ import annotations

from rich.table import Table

from mmreward_client.benching.figures import Figures


def bench_table(found: Figures, title: str) -> Table:
    """Rates, percentiles, where the time went, and what failed."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("requests answered", str(found.answered))
    for reason, count in sorted(found.errors.items()):
        table.add_row(f"  without an answer: {reason}", str(count), style="red")
    for status, count in sorted(found.statuses.items()):
        style = None if status == "ok" else "yellow"
        table.add_row(f"  items: {status}", str(count), style=style)
    table.add_row("seconds", f"{found.seconds:.1f}")
    table.add_row("requests / s", _rate(found.per_second(found.answered)))
    table.add_row("scored items / s", _rate(found.per_second(found.scored)))
    table.add_row("tokens written / s", _rate(found.per_second(found.completion_tokens)))
    if found.cached_share is not None:
        table.add_row("prompt tokens from memory", f"{100 * found.cached_share:.1f} %")
    table.add_section()
    for place, value in found.latency_s.items():
        table.add_row(f"latency, {place} %", _time(value))
    table.add_row("latency, mean", _time(found.mean_s))
    table.add_row("latency, longest", _time(found.max_s))
    table.add_section()
    for stage, value in found.stages_s.items():
        table.add_row(f"in the service: {stage.removesuffix('_s')}, mean", _time(value))
    return table


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _time(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s" if value < 10 else f"{value:.1f} s"
