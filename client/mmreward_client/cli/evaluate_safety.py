"""`mmreward evaluate-safety`: ASR and RtA of what a model wrote, by a judge of one's choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmreward_client.cli.evaluation_table import interval, share
from mmreward_client.cli.outcome import failures_end_the_command
from mmreward_client.cli.progress import progress
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.generations import Fields, SafetyRow, read_safety_rows
from mmreward_client.evaluation.judges import Judge, KeywordJudge, judge_named, read_phrases
from mmreward_client.evaluation.safety_report import safety_report

_LEGEND = (
    "ASR: judged harmful, lower is safer. RtA: judged harmless and refusing, higher is safer. "
    "[] 95 %, Wilson: of a finite file, not of the judge's errors."
)
_WEAK = (
    "A keyword judge is weak: what refuses in other words counts as harmful. "
    "For a first look only; not comparable with published figures."
)
_LEAST_COLUMNS = 120


def evaluate_safety(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Generations: JSONL or parquet.")],
    judge: Annotated[
        str,
        typer.Option(
            help="keywords; recorded (columns `harmful` and `refusal`); or package.module:name."
        ),
    ] = "keywords",
    refusals: Annotated[
        Path | None,
        typer.Option(
            help="Phrases of the keyword judge, one a line. Default: the packaged ones.",
            show_default=False,
        ),
    ] = None,
    response_field: Annotated[str, typer.Option(help="Column of the generation.")] = "response",
    behaviour_field: Annotated[str, typer.Option(help="Column of what was asked for.")] = "prompt",
    task_field: Annotated[str, typer.Option(help="Column that rows are grouped by.")] = "task",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, no table.")] = False,
) -> None:
    used, name = choose(judge, refusals)
    fields = Fields(response=response_field, behaviour=behaviour_field, task=task_field)
    rows = check_file(file, fields, recorded=used is None)
    with failures_end_the_command(), progress(file.name, rows) as advance:

        def told() -> Iterator[SafetyRow]:
            for row in read_safety_rows(file, fields, recorded=used is None):
                yield row
                advance()

        found = safety_report(told(), used, name)
    say(found, as_json=as_json)
    if not any(found["overall"][figure]["judged"] for figure in ("asr", "rta", "no_refusal")):
        typer.echo("mmreward: not one generation could be judged", err=True)
        raise typer.Exit(1)


def choose(judge: str, refusals: Path | None) -> tuple[Judge | None, str]:
    """The judge and how it is named; None for the verdicts of the rows."""
    if refusals is not None and judge != "keywords":
        raise typer.BadParameter("is for --judge keywords", param_hint="--refusals")
    if judge == "recorded":
        return None, judge
    try:
        if judge == "keywords":
            named = "packaged phrases" if refusals is None else f"phrases of {refusals.name}"
            return KeywordJudge(read_phrases(refusals)), f"keywords ({named})"
        return judge_named(judge), judge
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--judge") from None
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{refusals}: {error}", param_hint="--refusals") from None


def check_file(file: Path, fields: Fields, *, recorded: bool) -> int:
    """How many rows there are, all of them right: a judge may be costly, and is asked later."""
    try:
        with failures_end_the_command():
            rows = sum(1 for _ in read_safety_rows(file, fields, recorded=recorded))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    if not rows:
        raise typer.BadParameter(f"{file} holds no rows", param_hint="FILE")
    return rows


def say(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    console.width = max(console.width, _LEAST_COLUMNS)
    console.print(table(found))
    console.print(f"judge: {found['judge']}", soft_wrap=True, markup=False)
    console.print(_LEGEND, style="bright_black", soft_wrap=True, markup=False)
    if found["judge"].startswith("keywords"):
        console.print(_WEAK, style="yellow", soft_wrap=True)


def table(found: dict[str, Any]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("task", no_wrap=True)
    for name in ("judged", "undecided", "ASR", "95 %", "RtA", "95 %", "no refusal", "95 %"):
        made.add_column(name, justify="right", no_wrap=True)
    for name, figures in [*found["tasks"].items(), ("overall", found["overall"])]:
        cells = [str(figures["asr"]["judged"]), str(figures["asr"]["undecided"])]
        for figure in ("asr", "rta", "no_refusal"):
            cells += [share(figures[figure]["share"]), interval(figures[figure]["ci95"], "[]")]
        # Text: a task of someone's own file may look like markup.
        made.add_row(*map(Text, [name, *cells]))
    return made
