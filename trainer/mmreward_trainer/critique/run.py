"""One training run from settings to checkpoint folder; can be killed at any time and resumed.

OUTPUT/               the checkpoint the service takes, written at the end
OUTPUT/run/           config.json, data/, saves/, tensorboard/; history.json and
                      curves.png at every save; result.json at the end
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from transformers import set_seed

from mmreward_trainer.critique import rows as row_tables
from mmreward_trainer.critique.configuration import ConfigError, CritiqueConfig, Data
from mmreward_trainer.critique.curves import PANELS
from mmreward_trainer.critique.preparation import Parts, make_trainer, prepare
from mmreward_trainer.critique.publishing import publish
from mmreward_trainer.critique.rows import Encode, Rows
from mmreward_trainer.earlier_rows import check_held_out
from mmreward_trainer.resuming import train_from
from mmreward_trainer.run_log import RunLog, Say, mute

RUN_FOLDER = "run"
CONFIG_FILE = "config.json"
# What may change between a run and its continuation without making it another run.
_FREE = {"run": {"save_every_steps", "keep_saves", "cpu"}, "data": {"workers"}}


def train_critique(config: CritiqueConfig, output: Path, *, resume: bool, say: Say) -> Path:
    """Run the training; returns the checkpoint folder.

    Raises:
        ConfigError: settings, rows or a model that cannot be used, or a folder of another run.
        InvalidInput: a row that cannot be used, under the policy `error`.
        NotFiniteLoss: the loss became NaN or infinite.
    """
    from accelerate import PartialState

    if config.run.cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    state = PartialState(cpu=config.run.cpu)
    folder = output / RUN_FOLDER
    set_seed(config.run.seed)
    parts = prepare(config)
    with state.main_process_first():
        if state.is_main_process:
            claim(config, folder, resume, _FREE)
        speaks = say if state.is_main_process else mute
        train_rows, validation_rows = tables(config.data, folder, parts.encoder.encode, speaks)
    check_held_out(config.model, validation_rows)
    trainer = make_trainer(
        config, parts, train_rows, validation_rows, folder, [RunLog(folder, PANELS, speaks)]
    )
    save = last_save(folder / "saves") if resume else None
    if state.is_main_process:
        _describe(config, parts, train_rows, validation_rows, save, say)
    train_from(trainer, save)
    final = folder / "final"
    trainer.save_model(str(final))
    trainer.evaluate()
    if trainer.is_world_process_zero():
        history, judged = trainer.state.log_history, trainer.judged
        publish(config, parts, history, train_rows, validation_rows, judged, folder, output, speaks)
    state.wait_for_everyone()
    return output


def last_save(saves: Path) -> Path | None:
    """The newest whole save: the Trainer writes its state last, so half a save has none."""
    whole = []
    for folder in saves.glob("checkpoint-*"):
        try:
            step = int(folder.name.removeprefix("checkpoint-"))
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        whole.append((step, folder))
    return max(whole)[1] if whole else None


def claim(config: BaseModel, folder: Path, resume: bool, free: Any) -> None:
    """Write the resolved settings, or compare them with those of the run that is resumed.

    Args:
        free: settings that may differ, as pydantic's `exclude` takes them.
    Raises:
        ConfigError: the folder holds a run, or one with other settings.
    """
    file = folder / CONFIG_FILE
    wanted = config.model_dump(mode="json")
    if file.is_file():
        if not resume:
            raise ConfigError(f"{folder} holds a run: resume it, or choose another folder")
        saved = type(config).model_validate_json(file.read_text(encoding="utf-8"))
        if saved.model_dump(exclude=free) != config.model_dump(exclude=free):
            old = saved.model_dump(mode="json")
            changed = [name for name in wanted if wanted[name] != old[name]]
            raise ConfigError(f"{file} was written with other settings: {', '.join(changed)}")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def tables(
    data: Data, folder: Path, encode: Encode, say: Say, texts: Mapping[str, str] | None = None
) -> tuple[Rows, Rows | None]:
    """The rows of both sets, in `folder/data`.

    Args:
        texts: columns to keep, see `build_rows`.
    Raises:
        ConfigError: rows of both sets, or a set without rows.
        InvalidInput: a row that cannot be used, under the policy `error`.
    """
    check = encode if data.unusable == "skip" else None
    train = row_tables.build_rows(
        data.train,
        data,
        folder / "data" / "train",
        split=data.train_split,
        encode=check,
        texts=texts,
    )
    say(f"training rows: {_account(train)}")
    if not data.validation:
        return train, None
    validation = row_tables.build_rows(
        data.validation,
        data,
        folder / "data" / "validation",
        split=data.validation_split,
        encode=check,
        texts=texts,
    )
    say(f"validation rows: {_account(validation)}")
    row_tables.check_apart(train.fingerprints, validation.fingerprints)
    return train, validation


def _account(rows: Rows) -> str:
    names = (
        "pairs", "with_reasons", "without_reasons", "ties", "bad", "missing_images", "unusable"
    )  # fmt: skip
    counts = ", ".join(f"{rows.report[name]} {name.replace('_', ' ')}" for name in names)
    return f"{counts}; fingerprint {rows.report['fingerprint'][:12]}"


def _describe(
    config: CritiqueConfig,
    parts: Parts,
    train: Rows,
    validation: Rows | None,
    save: Path | None,
    say: Say,
) -> None:
    trained = sum(p.numel() for p in parts.model.parameters() if p.requires_grad)
    everything = sum(p.numel() for p in parts.model.parameters())
    say(f"{everything:,} parameters, {trained:,} trained; head {parts.spec.head.type}, "
        f"read-out {parts.spec.read_out}")  # fmt: skip
    if config.run.share_prompt and not parts.packer.share:
        say(f"attention {config.run.attention} takes no mask of its own: prompts are not shared")
    if config.loss.critique > 0 and not train.report["with_reasons"]:
        say("no row has both reasons: only the head is trained")
    if validation is None:
        say("no validation rows: accuracy is not measured")
    if save is not None:
        say(f"resumed from {save.name}")
