"""One run from settings to the policy's folder; can be killed at any time and resumed.

OUTPUT/               the trained policy, a plain Hugging Face folder, written at the end
OUTPUT/run/           config.json, service.json (the model it insists on), data/, saves/,
                      tensorboard/, warnings.jsonl, service-events.jsonl (all that was not smooth
                      between the run and the service; rank1-... of other processes);
                      history.json and curves.png at every save; result.json at the end
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replace_file
from transformers import set_seed

from mmreward_trainer.align.export import export_policy
from mmreward_trainer.align.grouped.configuration import GroupedSettings, Watched
from mmreward_trainer.align.grouped.curves import PANELS
from mmreward_trainer.align.grouped.preparation import GroupedParts, make_trainer, prepare
from mmreward_trainer.align.grouped.rows import build_prompts
from mmreward_trainer.align.grouped.serving import make_reward, pinned
from mmreward_trainer.align.grouped.watch import Thresholds, Warned, Watch
from mmreward_trainer.align.rows import PairTable, rows_folder
from mmreward_trainer.align.service_events import EventLog, of_process
from mmreward_trainer.critique.rows import check_apart
from mmreward_trainer.critique.run import RUN_FOLDER, claim, last_save
from mmreward_trainer.resuming import train_from
from mmreward_trainer.run_log import RunLog, Say, mute, without_nan, write_history

# What may change between a run and its continuation without making it another run.
_FREE = {
    "run": {"save_every_steps", "keep_saves", "cpu", "process_group_timeout_s"},
    "data": {"workers", "unusable"},
    "service": {
        "urls", "timeout_s", "silence_timeout_s", "max_in_flight", "wait_s", "on_failure",
        "patience",
    },
    "watch": True,
}  # fmt: skip
WARNINGS_FILE = "warnings.jsonl"


def train_grouped(
    settings: GroupedSettings,
    output: Path,
    *,
    resume: bool,
    say: Say,
    api_key: str | None = None,
) -> Path:
    """Run the training; returns the policy's folder.

    Raises:
        ConfigError: settings, rows, a model or a service that cannot be used, or a folder of
            another run.
        InvalidInput: a row that cannot be used, under the policy `error`.
        RewardError, ServiceGone: rewards could not be had; the last save is good.
        NotFiniteLoss: the loss became NaN or infinite.
    """
    from accelerate import PartialState

    if settings.run.cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    state = PartialState(cpu=settings.run.cpu)
    folder = output / RUN_FOLDER
    set_seed(settings.run.seed)
    parts = prepare(settings)
    with state.main_process_first():
        speaks = say if state.is_main_process else mute
        if state.is_main_process:
            claim(settings, folder, resume, _FREE)
        train, validation = tables(settings, parts, folder / "data", speaks)
        fingerprint = pinned(settings, folder, api_key)
    speaks(f"rewards come from {', '.join(settings.service.urls)}, fingerprint {fingerprint}")
    events = EventLog()
    events.path = folder / of_process(state.process_index)
    events.write("Began", fingerprint=fingerprint, urls=settings.service.urls, resumed=resume)
    reward = make_reward(settings, fingerprint, api_key, state.num_processes, events)
    save = last_save(folder / "saves") if resume else None
    if state.is_main_process:
        forget_warnings(folder, since=0 if save is None else int(save.name.rpartition("-")[2]))
    callbacks = [watch_of(settings.watch, folder, speaks), RunLog(folder, PANELS, speaks)]
    trainer = make_trainer(settings, parts, reward, train, validation, folder, callbacks)
    trained = sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)
    speaks(f"{trained:,} parameters are trained")
    if save is not None:
        speaks(f"resumed from {save.name}")
    train_from(trainer, save)
    final = folder / "final"
    trainer.save_model(str(final))
    found = trainer.evaluate() if validation is not None else None
    if trainer.is_world_process_zero():
        write_history(trainer.state.log_history, folder, PANELS)
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
            "validation": None if found is None else without_nan(found),
            "fingerprint": fingerprint,
            "since_start_or_resume": {**reward.counts, **reward.tally.counts},
            "warnings": warnings_of(folder),
        }
        replace_file(folder / "result.json", json.dumps(result, indent=2) + "\n")
    state.wait_for_everyone()
    return output


def tables(
    settings: GroupedSettings, parts: GroupedParts, folder: Path, say: Say
) -> tuple[PairTable, PairTable | None]:
    """The prompts of both sets.

    Raises:
        ConfigError: prompts of both sets, or a set without rows.
        InvalidInput: a row that cannot be used, under the policy `error`.
    """
    data = settings.data
    check = parts.check if data.unusable == "skip" else None
    folder = rows_folder(folder, data.unusable)
    train = build_prompts(
        data.train, data, folder / "train", parts.special, split=data.train_split, check=check
    )
    say(f"training rows: {_account(train)}")
    if not data.validation:
        return train, None
    validation = build_prompts(
        data.validation,
        data,
        folder / "validation",
        parts.special,
        split=data.validation_split,
        check=check,
    )
    say(f"validation rows: {_account(validation)}")
    check_apart(train.fingerprints, validation.fingerprints)
    return train, validation


def watch_of(settings: Watched, folder: Path, say: Say) -> Watch:
    """The watch of a run: each warning is told, and a line of the run's account."""

    def told(one: Warned) -> None:
        say(f"WARNING: step {one.step}: {one.text}")
        with (folder / WARNINGS_FILE).open("a", encoding="utf-8") as account:
            account.write(json.dumps(asdict(one)) + "\n")

    limits: dict[str, Any] = settings.model_dump(exclude={"phrases"})
    thresholds = Thresholds(**{n: None if v is False else v for n, v in limits.items()})
    return Watch(thresholds, told, {one["detector"] for one in warnings_of(folder)})


def warnings_of(folder: Path) -> list[dict[str, Any]]:
    """The warnings of a run so far, of all its parts."""
    file = folder / WARNINGS_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = []
    for line in lines:
        with suppress(ValueError):  # a run that was killed may have left half a line
            found.append(json.loads(line))
    return found


def forget_warnings(folder: Path, *, since: int) -> None:
    """Leave out those of steps that a resumed run does again."""
    kept = [one for one in warnings_of(folder) if one["step"] <= since]
    if (folder / WARNINGS_FILE).is_file():
        replace_file(folder / WARNINGS_FILE, "".join(json.dumps(one) + "\n" for one in kept))


def _account(rows: PairTable) -> str:
    names = ("prompts", "with_answer", "repeated", "bad", "missing_images", "unusable")
    counts = ", ".join(f"{rows.report[name]} {name.replace('_', ' ')}" for name in names)
    return f"{counts}; fingerprint {rows.report['fingerprint'][:12]}"
