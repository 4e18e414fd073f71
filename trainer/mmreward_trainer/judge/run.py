"""One run from settings to checkpoint folder; can be killed at any time and resumed.

OUTPUT/                  the checkpoint the service takes, written at the end
OUTPUT/run/              config.json, data/; result.json at the end
OUTPUT/run/sft/, rl/     saves/, tensorboard/; history.json and curves.png at every save
OUTPUT/run/sft/model/    what the second stage starts from, and is compared with
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from mmreward_trainer.critique.export import export_checkpoint
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.critique.run import RUN_FOLDER, claim, last_save, tables
from mmreward_trainer.earlier_rows import check_held_out
from mmreward_trainer.judge.configuration import JudgeConfig, StageName
from mmreward_trainer.judge.judgements import CHOSEN_FIRST, SWAPPED
from mmreward_trainer.judge.measuring import (
    RL_PANELS,
    SFT_PANELS,
    Measure,
)
from mmreward_trainer.judge.preparation import Parts, check_settings, load_model, prepare
from mmreward_trainer.judge.publishing import publish
from mmreward_trainer.judge.selection import Selected, rows_of_stages
from mmreward_trainer.judge.start import warn_of_start
from mmreward_trainer.judge.validation import JudgedPair, Validation
from mmreward_trainer.resuming import train_from
from mmreward_trainer.run_log import Say, mute

# What may change between a run and its continuation without making it another run.
_FREE = {"run": {"save_every_steps", "keep_saves", "cpu"}, "data": {"workers"}}
_FINAL, _START, _DONE = "final", "model", "done.json"


@dataclass(frozen=True)
class _Run:
    config: JudgeConfig
    parts: Parts
    selected: dict[StageName, Selected]
    validation: Rows | None
    folder: Path
    resume: bool
    is_main: bool
    say: Say


def train_judge(config: JudgeConfig, output: Path, *, resume: bool, say: Say) -> Path:
    """Run the stages; returns the checkpoint folder.

    Raises:
        ConfigError: settings, rows or a model that cannot be used, or a folder of another run.
        InvalidInput: a row that cannot be used, under the policy `error`.
        NotFiniteLoss: the loss became NaN or infinite.
        GoldenError: the head of the start gives scores that cannot be served any more.
    """
    from accelerate import PartialState

    if config.run.cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    state = PartialState(cpu=config.run.cpu)
    folder = output / RUN_FOLDER
    # Before the folder is claimed, and before the first stage is paid for.
    check_settings(config)
    set_seed(config.run.seed)
    parts = prepare(config)
    speaks = say if state.is_main_process else mute
    warn_of_start(config.model, speaks)
    columns = {
        CHOSEN_FIRST: config.data.judgement_column,
        SWAPPED: config.data.swapped_column,
    }
    with state.main_process_first():
        if state.is_main_process:
            claim(config, folder, resume, _FREE)
        train, validation = tables(config.data, folder, parts.encoder.encode, speaks, columns)
    selected = rows_of_stages(config, train.table)
    check_held_out(config.model, validation)
    run = _Run(config, parts, selected, validation, folder, resume, state.is_main_process, speaks)
    account: dict[str, Any] = {}
    start, judged = config.model, []
    for number, name in enumerate(config.stages):
        is_last = number == len(config.stages) - 1
        judged, account[name] = _stage(run, name, start, is_last)
        save, base = folder / name / _FINAL, start
        if not is_last:
            start = folder / name / _START
            if run.is_main and not start.exists():
                _write_start(run, save, base, start)
            state.wait_for_everyone()
    if "before" in account.get("rl", {}) and "sft" in account:
        # What the second stage begins with is what the first one left.
        left = account["rl"]["before"] | {"step": account["sft"]["steps"]}
        account["sft"]["after"] = {n: value for n, value in left.items() if n != "epoch"}
    if state.is_main_process:
        publish(
            config, parts, save, base, train, validation, judged, account, folder, output, speaks
        )
    state.wait_for_everyone()
    return output


def _stage(
    run: _Run, name: StageName, start: Path, is_last: bool
) -> tuple[list[JudgedPair], dict[str, Any]]:
    """Train one stage, unless it is done; its weights are then in its folder."""
    config, parts, folder = run.config, run.parts, run.folder / name
    done = folder / _DONE
    if done.is_file() and not is_last:
        run.say(f"{name}: done before")
        account: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return [], account
    folder.mkdir(parents=True, exist_ok=True)
    table, left_out = run.selected[name]
    model = load_model(config, parts.spec, start)
    validation = None
    if run.validation is not None:
        at_once = config.sft.pairs_per_batch if name == "sft" else config.rl.rollouts_per_batch
        validation = Validation(
            parts.encoder, parts.writer, run.validation.table, config.run.validation_pairs, at_once
        )
    measure = Measure(
        validation,
        folder,
        SFT_PANELS if name == "sft" else RL_PANELS,
        config.run.validate_every_steps,
        run.say,
        # The next stage begins by judging what this one left.
        at_end=is_last,
    )
    if name == "sft":
        from mmreward_trainer.judge.supervised import supervised_trainer as make
    else:
        from mmreward_trainer.judge.reinforced import reinforced_trainer as make
    trainer = make(config, parts, model, table, folder, [measure])
    measure.trainer = trainer
    save = last_save(folder / "saves") if run.resume else None
    run.say(f"{name}: {len(table)} pairs, {left_out} left out; " + _size(trainer.model))
    if save is not None:
        run.say(f"{name}: resumed from {save.name}")
    train_from(trainer, save)
    trainer.save_model(str(folder / _FINAL))
    account = {"pairs": len(table), "left_out": left_out, "steps": trainer.state.global_step}
    account |= _first_and_last(trainer.state.log_history, trainer.state.global_step)
    if run.is_main:
        part = done.with_name(done.name + ".part")
        part.write_text(json.dumps(account, indent=1) + "\n", encoding="utf-8")
        part.replace(done)
    return measure.judged, account


def _write_start(run: _Run, save: Path, base: Path, start: Path) -> None:
    """A folder that model and reference of the next stage are loaded from; adapters are merged."""
    part = start.with_name(start.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    export_checkpoint(
        save, base, part, run.parts.spec, dtype="float32", processor=run.parts.processor
    )
    part.replace(start)


def _size(model: Any) -> str:
    everything = sum(one.numel() for one in model.parameters())
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return f"{everything:,} parameters, {trained:,} trained"


def _first_and_last(history: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    """Held-out figures before and after a stage of so many steps, where they were measured."""
    measured = [one for one in history if "eval_pairs" in one]
    named = {"before": [one for one in measured if one["step"] == 0]}
    named["after"] = [one for one in measured if one["step"] == steps]
    return {name: found[-1] for name, found in named.items() if found}
