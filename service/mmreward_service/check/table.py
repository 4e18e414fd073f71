"""The report of a check: for people, with rich, and as one JSON object."""

from __future__ import annotations

from typing import Any

from mmreward_service.check.memory import GIB, Load, Need
from mmreward_service.check.report import Report

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}


def print_report(report: Report) -> None:
    """Findings, memory and the verdict, on standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=f"{escape(str(report.folder.path))}", title_justify="left", box=None)
    for column in ("", "topic", "finding"):
        table.add_column(column, overflow="fold")
    for finding in report.findings.found:
        table.add_row(_MARKS[finding.weight], finding.topic, escape(finding.text))
    console.print(table)
    if report.needs:
        console.print()
        console.print(_memory_table(report.needs, report.load))
        console.print(_explain(report), style="dim")
    count = len(report.findings.problems)
    console.print()
    console.print(
        "[green]would serve[/]"
        if not count
        else f"[red]would not serve[/]: {count} problem{'s' if count > 1 else ''}"
    )


def _memory_table(needs: list[Need], load: Load | None) -> Any:
    from rich.table import Table

    assert load is not None
    table = Table(
        title=f"Memory per GPU; KV cache for {load.sequences} sequences of {load.model_len} tokens",
        title_justify="left",
        box=None,
    )
    columns = ("dtype", "GPUs", "weights", "KV cache", "bytes/token", "estimates", "sum")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for need in needs:
        if need.refused:
            continue
        estimates = need.vision + need.activations + need.logits
        table.add_row(
            need.dtype,
            str(need.ranks),
            _size(need.weights),
            _size(need.kv_cache),
            f"{need.kv_per_token:,}",
            _size(estimates),
            _size(need.total),
        )
    return table


def _explain(report: Report) -> str:
    need, load = report.needs[0], report.load
    assert load is not None
    refused = {one.ranks: one.refused for one in report.needs if one.refused}
    split = "".join(f"{ranks} GPUs: not possible with {why}. " for ranks, why in refused.items())
    return (
        f"{split}Weights and KV cache are computed, the rest is estimated: vision encoder "
        f"{_size(need.vision)}, language model {_size(need.activations)} for {load.step_tokens} "
        f"tokens a step, logits {_size(need.logits)} (in {need.dtype}). "
        "Not counted: CUDA context and graphs, kernel workspaces. float16 needs what bfloat16 "
        f"needs. On disk: {_size(report.disk_bytes)}."
    )


def _size(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):.2f} MiB"


def as_json(report: Report) -> dict[str, Any]:
    """The same, for programs. Sizes in bytes."""
    load = report.load
    return {
        "checkpoint": str(report.folder.path),
        "would_serve": report.findings.would_serve,
        "problems": [f"{one.topic}: {one.text}" for one in report.findings.problems],
        "findings": [
            {"weight": one.weight, "topic": one.topic, "text": one.text}
            for one in report.findings.found
        ],
        "parity_error": report.parity_error,
        "disk_bytes": report.disk_bytes,
        "load": None
        if load is None
        else {
            "max_model_len": load.model_len,
            "sequences": load.sequences,
            "step_tokens": load.step_tokens,
        },
        "memory": [
            {
                "dtype": need.dtype,
                "gpus": need.ranks,
                "refused": need.refused,
                "weights_bytes": need.weights,
                "kv_bytes_per_token": need.kv_per_token,
                "kv_cache_bytes": need.kv_cache,
                "vision_estimate_bytes": need.vision,
                "activations_estimate_bytes": need.activations,
                "logits_estimate_bytes": need.logits,
                "total_bytes": need.total,
            }
            for need in report.needs
        ],
    }
