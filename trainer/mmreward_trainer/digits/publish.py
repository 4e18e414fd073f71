"""Writes a trained run as a folder: model, head, calibration, golden items, record, card."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mmreward_service
from mmreward_service.reward.checkpoint import write_reward, write_spec
from mmreward_service.reward.spec import Calibration, GoldenItem, RewardSpec
from PIL import Image

from mmreward_trainer.digits.architecture import save_model
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.card import RECORD_FILE, digits_card
from mmreward_trainer.digits.evaluate import Sizes, calibrate
from mmreward_trainer.digits.pairs import KINDS, Pair, draw_pair
from mmreward_trainer.digits.records import training_rows, training_versions
from mmreward_trainer.digits.run import Run, base_spec
from mmreward_trainer.model_card import write_model_card
from mmreward_trainer.transformers_scorer import TransformersScorer


def publish(run: Run, folder: Path, sizes: Sizes) -> RewardSpec:
    """Calibrate on validation pairs, then write the folder and read its golden scores back.

    The baseline that was never taught to write has neither.
    """
    if not run.config.critique_weight:
        return write_checkpoint(run, folder, [], {"all": "a baseline that writes no critiques"})
    return write_checkpoint(run, folder, *calibrate(run.digit_model, sizes))


def write_checkpoint(
    run: Run,
    folder: Path,
    fitted: list[Calibration],
    refused: dict[str, str],
    *,
    base: RewardSpec | None = None,
    rows: dict[str, Any] | None = None,
    command: str | None = None,
    more: dict[str, Any] | None = None,
) -> RewardSpec:
    """Write the folder with these calibrations, and name those that were refused.

    Args:
        base: the reward object before calibration, rows and golden items; None: the critique
            model's.
        rows: what `training_rows` says; None: what the critique model's run saw.
        command: that trains it again; None: the critique model's.
        more: that the training record says.
    """
    spec = (base or base_spec(mmreward_service.__version__)).model_copy(
        update={
            "calibration": fitted,
            "training_rows": training_rows(run.config) if rows is None else rows,
        }
    )
    run.digit_model.model.eval()
    save_model(folder, run.digit_model.model, run.tokenizer)
    write_reward(folder, spec, run.digit_model.head)
    if run.config.critique_weight:
        # Golden scores come from the saved files by way of plain transformers.
        spec = spec.model_copy(update={"golden": _golden_items(folder)})
        write_spec(folder, spec)
    for file in folder.iterdir():
        if file.is_file():
            file.chmod(0o644)
    record = {
        "command": command or f"mmreward-train digits --seed {run.config.seed}",
        "settings": asdict(run.config),
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "training_rows": spec.training_rows,
        "versions": training_versions(),
        "vision_accuracy_on_validation_digits": run.vision,
        "validation": run.validations,
        "calibration": [one.model_dump() for one in fitted],
        "calibration_refused": refused,
        "curve": run.curve[:: max(1, len(run.curve) // 120)],
        **(more or {}),
    }
    (folder / RECORD_FILE).write_text(compact(record), encoding="utf-8")
    write_model_card(folder, digits_card(folder), overwrite=True)
    return spec


def compact(record: dict[str, Any]) -> str:
    """JSON with one line per top-level value, or per element of a list of objects."""
    lines = []
    for name, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n".join("    " + json.dumps(one) for one in value)
            lines.append(f"  {json.dumps(name)}: [\n{inner}\n  ]")
        else:
            lines.append(f"  {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _golden_items(folder: Path) -> list[GoldenItem]:
    """One item per kind and a hard one, answers true and false by turns, critique as written."""
    scorer = TransformersScorer(folder)
    pairs: list[Pair] = [
        draw_pair("validation", "trained", 2, i, kind=kind, hard_share=0.0)
        for i, kind in enumerate(KINDS)
    ]
    pairs.append(draw_pair("validation", "trained", 2, 100, kind="naming", hard_share=1.0))
    pictures = [Image.fromarray(picture).convert("RGB") for picture in render_pictures(pairs)]
    claims = [(pair.chosen, pair.rejected)[i % 2] for i, pair in enumerate(pairs)]
    prompts, responses = [p.prompt for p in pairs], [c.text for c in claims]
    critiques = scorer.critique([[p] for p in pictures], prompts, responses)
    items = []
    for picture, prompt, response, critique in zip(
        pictures, prompts, responses, critiques, strict=True
    ):
        ids = scorer.renderer.render(
            prompt=prompt, response=response, images=1, mode="given", critique=critique.text
        )
        # Alone, not in a batch: padding would move the score in its last digits.
        [score] = scorer.read([ids], [[picture]])
        items.append(
            GoldenItem(
                image=png_data_uri(picture),
                prompt=prompt,
                response=response,
                critique=critique.text,
                score=score,
            )
        )
    return items


def png_data_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
