"""Writes a run of both tasks as one folder: critiques and judgements from the same weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mmreward_service
from mmreward_service.reward.checkpoint import weights_fingerprint
from mmreward_service.reward.spec import Calibration, RewardSpec, Templates

from mmreward_trainer.calibration import CalibrationError, fit_temperature
from mmreward_trainer.digits.card import RECORD_FILE
from mmreward_trainer.digits.evaluate import CALIBRATION_HARD_SHARE, Sizes, calibrate
from mmreward_trainer.digits.pairs import draw_pair
from mmreward_trainer.digits.publish import write_checkpoint
from mmreward_trainer.digits.records import training_rows
from mmreward_trainer.digits.run import Run, base_spec
from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits_judge.configuration import JudgeConfig
from mmreward_trainer.digits_judge.judgements import write_judgement
from mmreward_trainer.digits_judge.judging import MAX_JUDGEMENT_TOKENS, SCORE_RANGE
from mmreward_trainer.digits_judge.metrics import judge_pairs
from mmreward_trainer.digits_judge.steps import training_comparisons

_FINGERPRINTED = 1000


def publish(run: Run, folder: Path, sizes: Sizes | None) -> RewardSpec:
    """Calibrate both kinds on validation pairs, then write the folder.

    Args:
        sizes: of the calibration; None calibrates nothing: a start of further training.
    """
    config = run.config
    assert isinstance(config, JudgeConfig)
    fitted: list[Calibration] = []
    refused: dict[str, str] = {}
    run.digit_model.model.eval()
    if sizes is not None:
        fitted, refused = calibrate(run.digit_model, sizes)
        try:
            fitted.append(calibrate_judge(run.digit_model, sizes.calibration))
        except CalibrationError as error:
            refused["judge generate 1"] = str(error)
    return write_checkpoint(
        run,
        folder,
        fitted,
        refused,
        base=spec_of_both(mmreward_service.__version__, run.digit_model.renderer.spec.templates),
        rows=rows_of_both(config),
        # `training_rows.started_from` tells which weights the start must have.
        command=f"mmreward-train digits-judge --start CRITIQUE_MODEL --seed {config.seed}",
        more=_record_of_the_start(Path(config.start)),
    )


def _record_of_the_start(start: Path) -> dict[str, Any]:
    """How the critique model was made, which nothing else in the new folder would tell."""
    path = start / RECORD_FILE
    if not path.is_file():
        return {}
    return {"critique_model": json.loads(path.read_text(encoding="utf-8"))}


def spec_of_both(trainer_version: str, templates: Templates) -> RewardSpec:
    """The reward object before calibration and golden items are known."""
    return base_spec(trainer_version).model_copy(
        update={
            "kinds": ["critique", "judge"],
            "templates": templates,
            "max_judgement_tokens": MAX_JUDGEMENT_TOKENS,
            "score_range": SCORE_RANGE,
        }
    )


def calibrate_judge(digit_model: DigitModel, pairs: int) -> Calibration:
    """Temperature of the judge's delta, the mean of both orders, on validation pairs.

    Raises:
        CalibrationError: too few errors to fit anything on.
    """
    judged = judge_pairs(
        digit_model,
        [
            draw_pair("validation", "trained", 3, index, hard_share=CALIBRATION_HARD_SHARE)
            for index in range(pairs)
        ],
    )
    deltas = [one.delta for one in judged if one.delta is not None]
    return fit_temperature(deltas, mode="generate", kind="judge")


def rows_of_both(config: JudgeConfig) -> dict[str, Any]:
    """Fingerprints of the rows of this run, and which weights it started from."""
    steps = range(-(-_FINGERPRINTED // sum(config.kind_comparisons)))
    settled = config.of_step(config.settles_at)
    first = [one for step in steps for one in training_comparisons(config, step)]
    texts = [
        f"{one.pair.prompt}\n{one.first.text}\n{one.second.text}\n{write_judgement(one)}"
        for one in first[:_FINGERPRINTED]
    ]
    return {
        **training_rows(config),
        "pairs": config.settles_at * config.pairs_per_step
        + config.settle_steps * settled.pairs_per_step,
        "comparisons": config.settles_at * sum(config.kind_comparisons)
        + config.settle_steps * sum(settled.kind_comparisons),
        "first_comparisons_sha256": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "started_from": weights_fingerprint(Path(config.start)),
    }
