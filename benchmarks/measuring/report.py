"""Writes a result: one JSON file, a short markdown beside it, the same table on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from measuring.machine import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"
_WIDTH_OF_A_LOG = 150
console = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_A_LOG)


def write_result(
    path: Path,
    result: dict[str, Any],
    title: str,
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]],
    remarks: Sequence[str],
) -> None:
    """`result` holds `machine`; each table is (caption, header, rows)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    machine = result["machine"]
    lines = [f"# {title}", "", f"    {machine['command']}", "", machine_sentence(machine), ""]
    for caption, header, rows in tables:
        lines += [f"**{caption}**", "", _row(header), _row(["---"] * len(header))]
        lines += [_row(row) for row in rows]
        lines.append("")
        show_table(caption, header, rows)
    lines += [f"- {remark}" for remark in remarks]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for remark in remarks:
        console.print(f"- {remark}", highlight=False)
    console.print(f"written: {path} and {path.with_suffix('.md').name}", highlight=False)


def machine_sentence(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = "/".join(str(value) for value in machine["load_average_before"])
    return (
        f"{machine['date']}, {machine['cpu']} ({', '.join(machine['cpu_flags'])}), "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB"
        f"{', ' + machine['gpu'] if machine['gpu'] else ''}, {machine['system']}, "
        f"Python {machine['python']}, {versions}, revision {machine['revision']}; "
        f"load average before: {load}, niceness {machine['niceness']}."
    )


def show_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=caption, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
