"""A trained run becomes a checkpoint folder: weights, calibration, golden items, card, account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replace_file
from mmreward_service.reward.checkpoint import write_spec
from mmreward_service.reward.spec import Calibration, Mode

from mmreward_trainer.calibration import CalibrationError, fit_temperature
from mmreward_trainer.critique.configuration import CritiqueConfig
from mmreward_trainer.critique.curves import PANELS
from mmreward_trainer.critique.export import export_checkpoint
from mmreward_trainer.critique.preparation import Parts
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.critique.validation import Judged, figures
from mmreward_trainer.earlier_rows import write_all_training_rows
from mmreward_trainer.golden import golden_items
from mmreward_trainer.model_card.runs import card_of
from mmreward_trainer.model_card.writing import write_model_card
from mmreward_trainer.run_log import Say, write_history
from mmreward_trainer.training_rows import EARLIER

RESULT_FILE = "result.json"


def publish(
    config: CritiqueConfig,
    parts: Parts,
    history: list[dict[str, Any]],
    train: Rows,
    validation: Rows | None,
    judged: list[Judged],
    run: Path,
    output: Path,
    say: Say,
) -> None:
    """Write the folder.

    Args:
        judged: validation pairs as the trained model judged them.
        run: the folder of the run, with the final save in `final`.
    """
    write_history(history, run, PANELS)
    output.mkdir(parents=True, exist_ok=True)
    training_rows = write_all_training_rows(output, config.model, train.fingerprints)
    if EARLIER in training_rows:
        say(
            f"WARNING: the rows that {config.model} was trained on are not all known: the "
            "checkpoint says so, and no calibration of it counts as checked for overlap"
        )
    spec = parts.spec.model_copy(
        update={
            "training_rows": training_rows,
            "calibration": _calibration(config, judged, say),
        }
    )
    export_checkpoint(
        run / "final",
        config.model,
        output,
        spec,
        dtype=config.run.export_dtype,
        processor=parts.processor,
    )
    golden = golden_items(
        output, critiques=config.loss.critique > 0, dtype="float32", progress=lambda done: None
    )
    write_spec(output, spec.model_copy(update={"golden": golden}))
    found = {f"eval_{name}": value for name, value in figures(judged).items()} if judged else None
    result = {
        "steps": max((one["step"] for one in history), default=0),
        "rows": train.report,
        "validation_rows": None if validation is None else validation.report,
        "validation": found,
    }
    replace_file(run / RESULT_FILE, json.dumps(result, indent=2) + "\n")
    # Another README.md would be put aside, not lost: a run must not fail at its very end over it.
    write_model_card(output, card_of(output), overwrite=True)
    for name, value in (found or {}).items():
        say(f"validation {name.removeprefix('eval_')}: {value:g}")


def _calibration(config: CritiqueConfig, judged: list[Judged], say: Say) -> list[Calibration]:
    """One temperature for the way the validation pairs were judged, if they allow a fit."""
    mode: Mode = "generate" if config.loss.critique > 0 else "none"
    deltas = [one.delta for one in judged if one.delta is not None and not one.is_tie]
    if not deltas:
        return []
    try:
        fitted = fit_temperature(deltas, mode=mode)
    except CalibrationError as error:
        say(f"not calibrated: {error}")
        return []
    low, high = fitted.interval_95
    say(
        f"calibrated for mode {mode}: temperature {fitted.temperature:g} ({low:g} to {high:g}), "
        f"{fitted.errors} errors in {fitted.pairs} pairs"
    )
    return [fitted]
