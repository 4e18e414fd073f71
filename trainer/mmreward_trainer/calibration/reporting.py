"""The report folder of a calibration: `report.json`, `report.md`, and a picture for each fit.

The picture shows reliability before and after and the map; the tables give the error of each
category before and after. Everything "after" is held out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmreward_service.reward.spec import Calibration

from mmreward_trainer.calibration.cross_validation import FOLDS, STANDARD_ERRORS
from mmreward_trainer.calibration.figures import draw_fit
from mmreward_trainer.calibration.fitting import BeforeAfter, Fit
from mmreward_trainer.calibration.reliability import Reliability


@dataclass(frozen=True)
class Report:
    """What a run of the command came to.

    Attributes:
        settings: the resolved configuration.
        refused: ways of scoring that allowed no fit, with the reason.
        notes: what could not be checked.
        written: whether config.json was changed.
    """

    settings: Mapping[str, Any]
    fits: Sequence[Fit]
    refused: Mapping[str, str]
    notes: Sequence[str]
    written: bool


def way(calibration: Calibration) -> str:
    """A way of scoring as a name: `generate-8`, `judge-generate-1`."""
    prefix = "" if calibration.kind == "critique" else f"{calibration.kind}-"
    return f"{prefix}{calibration.mode}-{calibration.critiques}"


def draw_report(report: Report, folder: Path) -> None:
    """Write the pictures, replacing those of an earlier report.

    Raises:
        OSError: a file cannot be written.
    """
    for fit in report.fits:
        draw_fit(fit, folder / f"reliability-{way(fit.calibration)}.png")


def write_report(report: Report, folder: Path) -> None:
    """Write the texts, replacing those of an earlier report.

    Raises:
        OSError: a file cannot be written.
    """
    text = json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(report), encoding="utf-8")


def as_json(report: Report) -> dict[str, Any]:
    return {
        "settings": dict(report.settings),
        "written": report.written,
        "notes": list(report.notes),
        "refused": dict(report.refused),
        "fits": {way(fit.calibration): _fit_json(fit) for fit in report.fits},
    }


def _fit_json(fit: Fit) -> dict[str, Any]:
    margins = fit.margins
    return {
        "calibration": fit.calibration.model_dump(mode="json"),
        "replaced": None if fit.replaced is None else fit.replaced.model_dump(mode="json"),
        "answers": str(margins.answers),
        "service_fingerprint": margins.fingerprint,
        "rows": margins.rows,
        "left_out": dict(margins.left_out),
        "zero_margins": fit.zero_margins,
        "groups": int(margins.groups.max()) + 1,
        "choice": {
            "isotonic_gain": fit.gain.mean,
            "stderr": fit.gain.stderr,
            "standard_errors_needed": STANDARD_ERRORS,
            "folds": FOLDS,
        },
        "errors": {
            "raw": asdict(fit.raw),
            **{f"{name}_held_out": asdict(found) for name, found in fit.held_out.items()},
            "in_sample": asdict(fit.in_sample),
        },
        "before_is": "raw" if fit.replaced is None else "replaced",
        "overall": asdict(fit.overall),
        "categories": {name: asdict(part) for name, part in fit.categories.items()},
        "band_95": [list(one) for one in fit.band_95],
    }


def as_markdown(report: Report) -> str:
    lines = ["# Calibration", ""]
    lines += [f"- {name}: `{value}`" for name, value in report.settings.items()]
    lines += [
        f"- config.json: {'written' if report.written else 'not written'}",
        *(f"- **{note}**" for note in report.notes),
        *(f"- **{name} was refused**: {reason}" for name, reason in report.refused.items()),
        "",
    ]
    for fit in report.fits:
        lines += [*_fit_lines(fit), ""]
    lines += [
        "Log loss in nats a pair. ECE: ten bins of equally many pairs; *if perfect*: its mean were "
        "the stated probabilities true, so that an ECE near it shows nothing. Held out: every "
        f"pair by maps fitted without its group, {FOLDS} folds.",
        "",
    ]
    return "\n".join(lines)


def _fit_lines(fit: Fit) -> list[str]:
    made, margins = fit.calibration, fit.margins
    left_out = ", ".join(f"{count} {name}" for name, count in margins.left_out.items()) or "none"
    low, high = made.interval_95
    old = "none" if fit.replaced is None else _told(fit.replaced)
    before = "sigmoid(δ)" if fit.replaced is None else "replaced"
    return [
        f"## {way(made)}: {_told(made)}",
        "",
        f"![Reliability before and after](reliability-{way(made)}.png)",
        "",
        f"- {made.pairs} pairs in {int(margins.groups.max()) + 1} groups that share no picture and "
        f"no id, of {margins.rows} rows; left out: {left_out}",
        f"- {made.errors} errors, {fit.zero_margins} margins of zero; temperature "
        f"{made.temperature:g} [{low:g}, {high:g}], 95 % by bootstrap over groups",
        f"- isotonic ahead by {fit.gain.mean:.5f} ± {fit.gain.stderr:.5f} nats a pair, held out; "
        f"taken from {STANDARD_ERRORS:g} standard errors on",
        f"- before: {old}",
        "",
        "| map | log loss | Brier | ECE | if perfect |",
        "|---|---|---|---|---|",
        _errors("sigmoid(δ)", fit.raw),
        *(_errors(f"{name}, held out", found) for name, found in fit.held_out.items()),
        _errors(f"{made.method}, on its own pairs", fit.in_sample),
        "",
        "| category | pairs | errors | ECE before | after | if perfect | log loss before | after |",
        "|---|---|---|---|---|---|---|---|",
        *(_category(name, part) for name, part in fit.categories.items()),
        _category("all", fit.overall),
        "",
        f"Before is {before}, after {made.method}, held out.",
    ]


def _told(calibration: Calibration) -> str:
    temperature = f"T = {calibration.temperature:g}"
    if calibration.knots is None:
        return temperature
    return f"isotonic with {len(calibration.knots)} knots, {temperature}"


def _errors(name: str, found: Reliability) -> str:
    numbers = (found.log_loss, found.brier, found.ece, found.ece_if_perfect)
    return f"| {name} | " + " | ".join(f"{number:.4f}" for number in numbers) + " |"


def _category(name: str, part: BeforeAfter) -> str:
    before, after = part.before, part.after
    numbers = (before.ece, after.ece, after.ece_if_perfect, before.log_loss, after.log_loss)
    cells = " | ".join(f"{number:.4f}" for number in numbers)
    shown = name.replace("|", "\\|").replace("\n", " ")
    return f"| {shown} | {part.pairs} | {part.errors} | {cells} |"
