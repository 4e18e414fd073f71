"""What `mmreward annotate` says in the end: text, a JSON file and a picture beside the output."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from mmreward_client.annotation.summary import Tally
from mmreward_client.file_replacement import replace_file
from mmreward_client.schema import Beta

_BAR_CELLS = 40
_BINS_A_LINE = 4


def summary_path(output: Path) -> Path:
    return output.with_name(output.stem + ".summary.json")


def save(figures: Mapping[str, Any], output: Path) -> None:
    """The figures beside the output."""
    content = json.dumps(figures, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    replace_file(summary_path(output), content.encode("utf-8", "surrogatepass"))


def draw_picture(tally: Tally, beta: Beta, output: Path) -> None:
    """The histograms beside the output; told of on stderr, so that --json stays one object."""
    from mmreward_client.annotation.picture import draw

    path = summary_path(output).with_suffix(".png")
    try:
        if draw(tally, beta, path):
            typer.echo(f"mmreward: wrote {path}", err=True)
    except ImportError as error:
        typer.echo(f"mmreward: no picture: {error.name} is missing: mmreward[cli]", err=True)


def show(figures: Mapping[str, Any], output: Path) -> None:
    """The figures as text."""
    console = Console(highlight=False)
    delta, beta = figures["delta"], figures["beta"]
    console.print(
        f"{figures['pairs']} pairs, {figures['scored']} with a margin; {_asked(figures)}",
        soft_wrap=True,
    )
    if figures["order_consistency"] is not None:
        console.print(f"both orders name the same winner in {figures['order_consistency']:.1%}")
    for status, count in figures["failed"].items():
        console.print(f"  {count} {status}")
    if figures["trained_on"]:
        console.print(f"  {figures['trained_on']} among the training rows of the model")
    if delta["mean"] is not None:
        _show_margins(console, delta)
    if beta["mean"] is not None:
        console.print(
            f"β mean {beta['mean']:.4f}, stdev {_number(beta['stdev'])}; at the lower bound "
            f"{beta['at_lower']:.1%}, at the upper {beta['at_upper']:.1%}",
            soft_wrap=True,
        )
    for suspect in figures["suspects"]:
        _show_suspect(console, suspect)
    written = f"{output}, {summary_path(output)}"
    console.print(f"written: {escape(written)}", soft_wrap=True)


def _asked(figures: Mapping[str, Any]) -> str:
    if figures["kind"] == "judge":
        again = figures["groups_saved_as_duplicates"]
        return f"{figures['groups']} groups judged, asked for {again} more times"
    again = figures["responses_saved_as_duplicates"]
    return f"{figures['responses']} responses scored, {again} more were duplicates"


def _show_margins(console: Console, delta: Mapping[str, Any]) -> None:
    quantiles = delta["quantiles"]
    console.print(
        f"δ mean {delta['mean']:+.3f}, stdev {_number(delta['stdev'])}, median "
        f"{quantiles['0.5']:+.3f}, 5 to 95 % {quantiles['0.05']:+.3f} to {quantiles['0.95']:+.3f}; "
        f"above zero {delta['positive']:.1%}",
        soft_wrap=True,
    )
    edges, counts = delta["histogram"]["edges"], delta["histogram"]["counts"]
    # Joined so that zero stays at the beginning of a line.
    joined: Counter[int] = Counter()
    width = edges[1] - edges[0]
    for edge, count in zip(edges, counts, strict=False):
        joined[round(edge / width) // _BINS_A_LINE] += count
    for place in range(min(joined), max(joined) + 1):
        bar = "█" * round(_BAR_CELLS * joined[place] / max(joined.values()))
        console.print(f"  {place * _BINS_A_LINE * width:+9.3f} {bar} {joined[place]}")


def _show_suspect(console: Console, suspect: Mapping[str, Any]) -> None:
    places = ""
    if "chosen_place" in suspect:
        places = f", responses {suspect['chosen_place']} and {suspect['rejected_place']}"
    prob = "" if suspect["prob"] is None else f", prob {suspect['prob']:.3f}"
    said = f"suspect: line {suspect['line']}, id {suspect.get('id')}{places}"
    console.print(f"{escape(said)}: δ {suspect['delta']:+.3f}{prob}", soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
