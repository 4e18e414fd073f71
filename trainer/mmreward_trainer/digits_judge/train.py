"""Teaches the bundled model to judge, in its own training loop, so that it forgets no critique.

As in `digits.train` every batch is a function of (seed, step) and all random state is saved, so an
interrupted run goes on exactly as it would have.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from mmreward_service.reward.checkpoint import load_spec
from mmreward_service.reward.prompt import PromptRenderer

from mmreward_trainer.digits.metrics import quick_summary
from mmreward_trainer.digits.pairs import draw_pair
from mmreward_trainer.digits.run import Run, build_optimizers, load_state, save_state
from mmreward_trainer.digits.scoring import load_digit_model
from mmreward_trainer.digits.train import SETTINGS_FILE, STATE_FILE, Report
from mmreward_trainer.digits_judge.configuration import JudgeConfig
from mmreward_trainer.digits_judge.metrics import judge_pairs, judge_summary
from mmreward_trainer.digits_judge.steps import train_step
from mmreward_trainer.digits_judge.templates import PICTURE_FIRST, TEMPLATES_OF_BOTH


def start(config: JudgeConfig) -> Run:
    """A run before its first step: the weights, tokenizer and head of the checkpoint it goes on
    from, and a renderer that knows both prompts."""
    from transformers import AutoTokenizer

    folder = Path(config.start)
    torch.manual_seed(config.seed)
    digit_model = load_digit_model(folder)
    digit_model.model.train()
    digit_model.model.model.visual.requires_grad_(False)
    templates = TEMPLATES_OF_BOTH
    if config.picture_first:
        templates = templates.model_copy(update={"judge": PICTURE_FIRST})
    spec = load_spec(folder).model_copy(update={"templates": templates})
    digit_model.renderer = PromptRenderer.from_checkpoint(folder, spec)
    optimizers = build_optimizers(digit_model.model.model.language_model, digit_model.head, config)
    generator = torch.Generator().manual_seed(config.seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Run(config, digit_model, tokenizer, optimizers, generator)


def train(config: JudgeConfig, output: Path, *, resume: bool, report: Report) -> Run:
    """Train to the end, or until KeyboardInterrupt, which saves the state and is raised again."""
    torch.set_num_threads(config.threads)
    output.mkdir(parents=True, exist_ok=True)
    (output / SETTINGS_FILE).write_text(json.dumps(asdict(config), indent=2) + "\n")
    run = start(config)
    if resume and (output / STATE_FILE).exists():
        load_state(run, output / STATE_FILE)
    saved = time.monotonic()
    try:
        while run.step < config.total_steps:
            began = time.monotonic()
            numbers = train_step(run)
            run.seconds += time.monotonic() - began
            report(_phase(config, run.step - 1), run.step, config.total_steps, numbers)
            if run.step % 10 == 0 or run.step == config.total_steps:
                run.curve.append({"step": run.step, **numbers})
            if run.step % config.validate_every == 0 or run.step in (
                *config.snapshot_steps,
                config.total_steps,
            ):
                validate(run, report)
            if run.step in config.snapshot_steps:
                save_state(run, snapshot_file(output, run.step))
            if time.monotonic() - saved > config.save_every_s:
                save_state(run, output / STATE_FILE)
                saved = time.monotonic()
    finally:
        save_state(run, output / STATE_FILE)
    return run


def _phase(config: JudgeConfig, step: int) -> str:
    if config.is_settling(step):
        return "settle"
    return "refine" if config.is_refining(step) else "judge"


def snapshot_file(output: Path, step: int) -> Path:
    return output / f"step_{step}.pt"


def validate(run: Run, report: Report) -> None:
    """Validation pairs judged in both orders, and their self-written critiques."""
    began = time.monotonic()
    count = run.config.validation_pairs
    record: dict[str, Any] = {"step": run.step}
    run.digit_model.model.eval()
    pairs = [draw_pair("validation", "trained", 0, i) for i in range(count)]
    record["judge"] = judge_summary(judge_pairs(run.digit_model, pairs))
    held = [draw_pair("validation", "held", 0, i) for i in range(count // 2)]
    record["judge_held"] = judge_summary(judge_pairs(run.digit_model, held))["both_orders"]
    record["critique"] = quick_summary(run.digit_model.score_pairs(pairs))
    run.digit_model.model.train()
    record["seconds"] = round(time.monotonic() - began, 1)
    run.validations.append(record)
    report("validation", run.step, run.config.total_steps, record)
