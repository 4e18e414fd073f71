"""Figures for a card from what `mmreward evaluate` left: its JSON report, or its answer file.

An answer file says how it came about (mode, critiques, the service's fingerprint), a report does
not; with either, nothing says whether the answers are of the weights in the folder: that is told
with the figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answers import read_answers
from mmreward_client.evaluation.benchmarks import recognise
from mmreward_client.evaluation.report import report

from mmreward_trainer.model_card.card import BENCHMARKS, Evaluation, Figure
from mmreward_trainer.model_card.writing import CardError

_NOTE = (
    "That the answers are of these weights is what whoever gave the file says; it is not checked. "
    "The interval is by a bootstrap over questions where there is one, else by Wilson over pairs."
)


def read_evaluation(path: Path) -> Evaluation:
    """The figures of one file: `.jsonl` is an answer file, anything else a report.

    Raises:
        CardError: it is neither, or answers of several origins.
        OSError: it cannot be read.
    """
    try:
        if path.suffix == ".jsonl":
            pairs = read_answers(path)
            if not pairs:
                raise CardError(f"{path} holds no answers")
            return evaluation_of(report(pairs, recognise(pairs)), path.stem, _conditions(path))
        found = json.loads(path.read_text(encoding="utf-8"))
        return evaluation_of(found, path.stem, {})
    except InvalidInput as error:
        raise CardError(str(error)) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, CardError):
            raise
        raise CardError(f"{path} is no report of `mmreward evaluate --json`: {error!r}") from error


def evaluation_of(found: Mapping[str, Any], name: str, conditions: Mapping[str, str]) -> Evaluation:
    """A report of the evaluation as a card holds it: overall first, then the categories.

    Raises:
        KeyError, TypeError, ValueError: it is no such report.
    """
    benchmark = found["benchmark"]
    parts = {"overall": found["overall"], **found["categories"]}
    return Evaluation(
        name=name if benchmark == "pairs" else f"{BENCHMARKS[benchmark]} ({name})",
        dataset=benchmark,
        figures=tuple(
            figure for part, figures in parts.items() for figure in _figures(part, figures)
        ),
        conditions=conditions,
        note=_NOTE,
    )


def mode_findings(evaluations: Iterable[Evaluation]) -> dict[str, str]:
    """The topics of a card that the conditions of its figures answer."""
    found: dict[str, str] = {}
    for evaluation in evaluations:
        told = f"see {evaluation.name}"
        if evaluation.conditions.get("mode") == "none":
            found.setdefault("score without a critique (mode `none`)", told)
        if evaluation.conditions.get("critiques", "1") != "1":
            found.setdefault("several sampled critiques (K > 1)", told)
        if any(one.longer_wins is not None for one in evaluation.figures):
            found.setdefault(
                "preference for longer answers",
                "beside each figure stands what the longer answer alone has; how often this model "
                "takes the longer one was not measured",
            )
    return found


def _figures(part: str, figures: Mapping[str, Any]) -> list[Figure]:
    random, longer = figures["baselines"]["random"], figures["baselines"]["longer_wins"]
    return [
        Figure(
            part=part,
            metric="ACC",
            value=figures["acc"],
            n=figures["scored"],
            interval_95=_ends(figures.get("acc_ci95_by_id") or figures["acc_ci95"]),
            failed=figures["failed"],
            random=random["acc"],
            longer_wins=longer["acc"],
        ),
        Figure(
            part=part,
            metric="ACC+",
            value=figures["acc_plus"],
            n=figures["ids_scored"],
            interval_95=_ends(figures["acc_plus_ci95"]),
            failed=figures["ids"] - figures["ids_scored"],
            random=random["acc_plus"],
            longer_wins=longer["acc_plus"],
        ),
    ]


def _ends(interval: Any) -> tuple[float, float] | None:
    return None if interval is None else (float(interval[0]), float(interval[1]))


def _conditions(path: Path) -> dict[str, str]:
    """What every line of an answer file says of its origin."""
    origins = set()
    with path.open("rb") as lines:
        for line in lines:
            if line.strip():
                row = json_object(line)
                origins.add((row.get("fingerprint"), json.dumps(row.get("request"))))
    if len(origins) > 1:
        raise CardError(f"{path} holds answers of {len(origins)} origins")
    fingerprint, request = origins.pop()
    said = json.loads(request) or {}
    if said:
        said.setdefault("critiques", 1)
    if fingerprint is not None:
        said["fingerprint of the service"] = fingerprint
    return {name: str(value) for name, value in said.items()}
