"""What an import does, as a table for people: one line per pattern of names, not one per layer."""

from __future__ import annotations

import re
from typing import Any

from mmreward_trainer.importing.conversion import Conversion

_NUMBER = re.compile(r"\.(\d+)\.")


def print_conversion(conversion: Conversion) -> None:
    """The mapping, the reward object and the notes, on standard output."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(
        f"[bold]{escape(conversion.source.folder.name)}[/]: form {conversion.form}, "
        f"served as {conversion.config['architectures'][0]}"
    )
    console.print(_mapping(conversion))
    spec = conversion.spec
    head = "none" if spec.head is None else spec.head.type
    console.print(
        f"head {head}, read-out {spec.read_out}, score slot {spec.score_slot}, "
        f"at most {spec.max_critique_tokens} critique tokens"
    )
    for name in ("critique", "none", "after_turn", "join"):
        console.print(f"template {name}: {escape(repr(getattr(spec.templates, name)))}")
    for note in conversion.notes:
        console.print(f"[yellow]note[/] {escape(note)}")


def grouped(conversion: Conversion) -> list[tuple[str, str, int, str, str]]:
    """(source names, target names, count, type, remark), layer numbers written as `*`."""
    groups: dict[tuple[str, str, str, str], int] = {}
    for move in conversion.tensors.moves:
        key = (
            _NUMBER.sub(".*.", move.source.name),
            _NUMBER.sub(".*.", move.target) if move.target else "left out",
            move.source.dtype,
            move.remark,
        )
        groups[key] = groups.get(key, 0) + 1
    return [
        (source, target, count, dtype, remark)
        for (source, target, dtype, remark), count in groups.items()
    ]


def _mapping(conversion: Conversion) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None)
    for column in ("source", "becomes", "count", "type", ""):
        table.add_column(column, overflow="fold", justify="right" if column == "count" else "left")
    for source, target, count, dtype, remark in grouped(conversion):
        table.add_row(escape(source), escape(target), str(count), dtype, escape(remark))
    return table
