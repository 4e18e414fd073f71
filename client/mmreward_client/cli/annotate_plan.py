"""What `mmreward annotate` is going to ask, found in one pass, and what to warn of."""

from __future__ import annotations

from dataclasses import dataclass, field

import typer

from mmreward_client.annotation.cases import Case, DataSet
from mmreward_client.annotation.models import Assignment
from mmreward_client.data.trained_rows import TrainedRows
from mmreward_client.errors import InvalidInput
from mmreward_client.schema import Beta

_NAMED_BAD_ROWS = 10


@dataclass
class Plan:
    """What is to be asked of each model, and what was found on the way.

    Attributes:
        keys: of what each model is asked about, in the order of the data.
        asked: of the usable pairs, duplicates and all; the pairs of a row share their group.
        largest_group: answers that are compared with each other.
    """

    keys: list[dict[str, None]]
    pairs: int = 0
    asked: int = 0
    largest_group: int = 0
    trained_on: int = 0
    has_pictures_inside: bool = False
    bad: list[str] = field(default_factory=list)


def plan_of(data: DataSet, assignment: Assignment, beta: Beta) -> Plan:
    """One pass over the data; rows that cannot be used are named on stderr.

    Raises:
        InvalidInput: the data cannot be read, holds no pair, or β cannot be had of its groups.
        OSError: a file cannot be read.
    """
    plan = Plan([{} for _ in assignment.rows])
    for case in data:
        choice = assignment.of(case)
        plan.pairs += 1
        plan.trained_on += choice.trained_on is True
        plan.has_pictures_inside |= _has_pictures_inside(case)
        if choice.model is None:
            plan.bad.append(choice.error or "")
        elif case.keys is not None:
            plan.asked += len(case.keys)
            plan.largest_group = max(plan.largest_group, len(case.group))
            plan.keys[choice.model].update(dict.fromkeys(case.keys))
    for said in plan.bad[:_NAMED_BAD_ROWS]:
        typer.echo(f"mmreward: {said}", err=True)
    if len(plan.bad) > _NAMED_BAD_ROWS:
        more = len(plan.bad) - _NAMED_BAD_ROWS
        typer.echo(f"mmreward: and {more} more; all are `invalid` in the output", err=True)
    if not plan.asked:
        raise InvalidInput(f"{data.path} holds no pair that can be scored")
    if plan.largest_group > 2 and beta.basis == "calibrated":
        raise InvalidInput(
            "--basis calibrated: a judge's calibration is of pairs, and here answers are "
            f"compared in groups of up to {plan.largest_group}"
        )
    return plan


def warn_of(plan: Plan, data: DataSet, assignment: Assignment, beta: Beta) -> None:
    """On stderr, what makes the margins worth less than they look."""
    if plan.trained_on:
        typer.echo(
            f"mmreward: warning: {plan.trained_on} of {plan.pairs} pairs are among the rows "
            "that the reward model was trained on: their margins are overfit. Score them with "
            "a checkpoint that did not see them (--fold-url)",
            err=True,
        )
    partly = sum(map(is_partly_known, assignment.rows))
    if partly:
        typer.echo(
            f"mmreward: warning: {partly} of {len(assignment.rows)} checkpoints say that rows of "
            "earlier trainings are unknown: what is not found may have been trained on "
            "(trained_on is null), and its margins may be overfit",
            err=True,
        )
    if plan.has_pictures_inside and not data.keeps_pictures:
        typer.echo(
            "mmreward: warning: pictures inside of rows are named in JSON lines by SHA-256 "
            "alone; --output NAME.parquet keeps them",
            err=True,
        )
    if len(assignment.rows) > 1 and beta.basis == "raw":
        typer.echo(
            "mmreward: warning: raw margins of several checkpoints have different units; "
            "--basis calibrated makes them comparable",
            err=True,
        )


def is_partly_known(rows: TrainedRows | None) -> bool:
    return rows is not None and not rows.is_whole


def _has_pictures_inside(case: Case) -> bool:
    return case.pair is not None and any(one.content is not None for one in case.pair.images)
