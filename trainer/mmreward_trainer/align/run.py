"""One run from settings to the policy's folder; can be killed at any time and resumed.

OUTPUT/               the aligned policy, a plain Hugging Face folder, written at the end
OUTPUT/run/           config.json, data/, saves/, tensorboard/; history.json and curves.png at
                      every save; result.json at the end
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replace_file
from transformers import set_seed

from mmreward_trainer.align.configuration import AlignSettings, MMDPOSettings
from mmreward_trainer.align.curves import DENSE_DPO_PANELS, MM_DPO_PANELS
from mmreward_trainer.align.export import export_policy
from mmreward_trainer.align.margins import ColumnMargins
from mmreward_trainer.align.mm_dpo import MMDPOTrainer
from mmreward_trainer.align.preparation import (
    AlignParts,
    make_trainer,
    mm_dpo_config,
    prepare_parts,
)
from mmreward_trainer.align.rows import Check, PairTable, build_pairs, rows_folder
from mmreward_trainer.align.trainer import PairTrainer
from mmreward_trainer.critique.rows import check_apart
from mmreward_trainer.critique.run import RUN_FOLDER, claim, last_save
from mmreward_trainer.resuming import train_from
from mmreward_trainer.run_log import RunLog, Say, mute, without_nan, write_history

# What may change between a run and its continuation without making it another run.
_FREE = {
    "run": {"save_every_steps", "keep_saves", "cpu"},
    "data": {"workers", "unusable"},
    # The same model at another address, asked more or less patiently.
    "margins": {
        "urls", "look_ahead", "concurrency", "timeout_s", "silence_timeout_s", "cache_pairs",
        "max_lost_calls",
    },
}  # fmt: skip


def train_policy(settings: AlignSettings, output: Path, *, resume: bool, say: Say) -> Path:
    """Run the training; returns the policy's folder.

    Raises:
        ConfigError: settings, rows or a model that cannot be used, or a folder of another run.
        InvalidInput, RowError: a row that cannot be used, under the policy `error`.
        NotFiniteLoss: the loss became NaN or infinite.
    """
    from accelerate import PartialState

    if settings.run.cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    state = PartialState(cpu=settings.run.cpu)
    folder = output / RUN_FOLDER
    set_seed(settings.run.seed)
    parts = prepare_parts(settings)
    with state.main_process_first():
        speaks = say if state.is_main_process else mute
        if state.is_main_process:
            claim(settings, folder, resume, _FREE)
        train, validation = tables(
            settings, parts, folder / "data", speaks, parts.collate.check_texts
        )
    panels = MM_DPO_PANELS if isinstance(settings, MMDPOSettings) else DENSE_DPO_PANELS
    trainer = make_trainer(
        settings, parts, train, validation, folder, [RunLog(folder, panels, speaks)]
    )
    save = last_save(folder / "saves") if resume else None
    _describe(trainer, save, speaks)
    train_from(trainer, save)
    final = folder / "final"
    trainer.save_model(str(final))
    found = trainer.evaluate() if validation is not None else None
    if trainer.is_world_process_zero():
        write_history(trainer.state.log_history, folder, panels)
        export_policy(
            final,
            settings.model,
            output,
            dtype=settings.run.export_dtype,
            processor=parts.processor,
        )
        result = {
            "steps": trainer.state.global_step,
            "rows": train.report,
            "validation_rows": None if validation is None else validation.report,
            "rows_without_margin": getattr(trainer, "lacking", {}),
            "validation": None if found is None else without_nan(found),
            "margins": _of_service(trainer),
        }
        replace_file(folder / "result.json", json.dumps(result, indent=2) + "\n")
    state.wait_for_everyone()
    return output


def tables(
    settings: AlignSettings, parts: AlignParts, folder: Path, say: Say, check: Check | None
) -> tuple[PairTable, PairTable | None]:
    """The rows of both sets.

    Args:
        check: of every row under the policy `error`; under `skip` rows are encoded instead.

    Raises:
        ConfigError: rows of both sets, or a set without rows.
        InvalidInput, RowError: a row that cannot be used, under the policy `error`.
    """
    data = settings.data
    folder = rows_folder(folder, data.unusable)
    column = column_of(settings)
    options: dict[str, Any] = {
        "number": None if column is None else column.column,
        "optional": column is not None and column.absent is not None,
        "check": (lambda row: parts.collate([row])) if data.unusable == "skip" else check,
        "leaves_out": data.unusable == "skip",
    }
    train = build_pairs(data.train, data, folder / "train", split=data.train_split, **options)
    say(f"training rows: {_account(train)}")
    if not data.validation:
        return train, None
    validation = build_pairs(
        data.validation, data, folder / "validation", split=data.validation_split, **options
    )
    say(f"validation rows: {_account(validation)}")
    check_apart(train.fingerprints, validation.fingerprints)
    return train, validation


def column_of(settings: AlignSettings) -> ColumnMargins | None:
    """The column that a run reads its margins from; None where a service is asked."""
    if not isinstance(settings, MMDPOSettings) or settings.margins.source == "service":
        return None
    return mm_dpo_config(settings, {"output_dir": "unused", "bf16": False}).column()


def _describe(trainer: PairTrainer, save: Path | None, say: Say) -> None:
    parameters = list(trainer.model.parameters())
    trained = sum(one.numel() for one in parameters if one.requires_grad)
    say(f"{sum(one.numel() for one in parameters):,} parameters, {trained:,} trained")
    if isinstance(trainer, MMDPOTrainer):
        args = trainer.args
        say(f"beta by the rule {args.beta_rule}: beta0 {args.beta:g}, w {args.w:g}, k {args.k:g}")
        if trainer.live is not None:
            options = trainer.live.source.options
            say(f"margins from {', '.join(options.urls)}, {options.look_ahead} batches ahead")
        for reason, rows in trainer.lacking.items():
            done = "dropped" if args.without_margin == "drop" else "trained with beta0"
            say(f"{rows} pairs have no margin ({reason}): {done}")
    if save is not None:
        say(f"resumed from {save.name}")


def _of_service(trainer: PairTrainer) -> dict[str, Any] | None:
    if not isinstance(trainer, MMDPOTrainer) or trainer.live is None:
        return None
    return trainer.live.summary()


def _account(rows: PairTable) -> str:
    names = ("pairs", "ties", "bad", "missing_images", "unusable")
    counts = ", ".join(f"{rows.report[name]} {name.replace('_', ' ')}" for name in names)
    return f"{counts}; fingerprint {rows.report['fingerprint'][:12]}"
