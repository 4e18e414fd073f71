"""One training run from settings to checkpoint folder; can be killed at any time and resumed.

OUTPUT/               the checkpoint the service takes, written at the end
OUTPUT/run/           config.json, data/, saves/, tensorboard/; history.json and
                      curves.png at every save; result.json at the end
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmreward_service.images import ImageLimits
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec
from transformers import AutoProcessor, TrainerCallback, TrainingArguments, set_seed

from mmreward_trainer.critique import rows as row_tables
from mmreward_trainer.critique.configuration import ConfigError, CritiqueConfig
from mmreward_trainer.critique.curves import draw_curves
from mmreward_trainer.critique.encoding import PairEncoder
from mmreward_trainer.critique.export import export_checkpoint
from mmreward_trainer.critique.lora import freeze_output, freeze_vision, with_adapters
from mmreward_trainer.critique.media import MediaEncoder
from mmreward_trainer.critique.model import (
    can_share_prompt,
    load_reward_model,
    media_tokens,
    rope_index,
)
from mmreward_trainer.critique.packing import Packer
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.critique.sequences import SequenceBuilder
from mmreward_trainer.critique.sharding import check_sharded
from mmreward_trainer.critique.specification import specification
from mmreward_trainer.critique.trainer import CritiqueTrainer
from mmreward_trainer.critique.validation import Judge
from mmreward_trainer.critique.writing import Writer

RUN_FOLDER = "run"
CONFIG_FILE = "config.json"
HISTORY_FILE = "history.json"
RESULT_FILE = "result.json"
CURVES_FILE = "curves.png"
_DTYPES = {"float32": torch.float32, "bf16-mixed": torch.float32, "bf16": torch.bfloat16}
# What may change between a run and its continuation without making it another run.
_FREE = {"run": {"save_every_steps", "keep_saves", "cpu"}, "data": {"workers"}}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Parts:
    """What a run consists of, before its first step."""

    spec: RewardSpec
    processor: Any
    model: Any
    encoder: PairEncoder
    packer: Packer
    writer: Writer


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
            _claim(config, folder, resume)
        speaks = say if state.is_main_process else _mute
        train_rows, validation_rows = _tables(config, folder, parts.encoder, speaks)
    trainer = make_trainer(config, parts, train_rows, validation_rows, folder, speaks)
    save = last_save(folder / "saves") if resume else None
    if state.is_main_process:
        _describe(config, parts, train_rows, validation_rows, save, say)
    trainer.train(resume_from_checkpoint=None if save is None else str(save))
    final = folder / "final"
    trainer.save_model(str(final))
    figures = trainer.evaluate() if config.run.validate_every_steps is None else {}
    if trainer.is_world_process_zero():
        _finish(config, parts, trainer.state.log_history, train_rows, validation_rows, output)
        for name, value in figures.items():
            say(f"{name.removeprefix('eval_')}: {value:g}")
    state.wait_for_everyone()
    return output


def prepare(config: CritiqueConfig) -> Parts:
    """Model, processor and the machinery around them."""
    spec = specification(config.model, config.reward)
    processor = AutoProcessor.from_pretrained(config.model)
    try:
        model = load_reward_model(
            config.model,
            spec.head,
            dtype=_DTYPES[config.run.precision],
            attention=config.run.attention,
            seed=config.run.seed,
        )
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    if not config.train_vision:
        freeze_vision(model)
    if config.loss.critique == 0:
        freeze_output(model)
    renderer = PromptRenderer.from_checkpoint(config.model, spec)
    media = MediaEncoder(
        processor,
        spec.templates,
        ImageLimits(config.data.max_image_bytes, config.data.max_image_pixels),
        takes_video_metadata=hasattr(model.config, "vision_start_token_id"),
    )
    encoder = PairEncoder(
        SequenceBuilder(renderer),
        media,
        max_tokens=config.data.max_tokens,
        with_critiques=config.loss.critique > 0,
    )
    rope, sizes = rope_index(model)
    packer = Packer(
        media_tokens(model.config),
        renderer.end_of_turn_id,
        rope_index=rope,
        rope_arguments=sizes,
        share=config.run.share_prompt and can_share_prompt(model),
    )
    vocabulary = model.config.get_text_config().vocab_size
    writer = Writer(encoder, spec.max_critique_tokens, vocabulary)
    if config.lora is not None:
        model = with_adapters(model, config.lora)
    return Parts(spec, processor, model, encoder, packer, writer)


def make_trainer(
    config: CritiqueConfig,
    parts: Parts,
    train: Rows,
    validation: Rows | None,
    folder: Path,
    say: Say,
) -> CritiqueTrainer:
    """The Trainer of a run."""
    judge = None
    if validation is not None:
        judge = Judge(
            parts.encoder,
            parts.packer,
            parts.writer,
            validation.table,
            config.run.validation_pairs,
            config.optimisation.pairs_per_batch,
            with_critiques=config.loss.critique > 0,
        )
    return CritiqueTrainer(
        settings=config,
        encoder=parts.encoder,
        packer=parts.packer,
        writer=parts.writer,
        judge=judge,
        model=parts.model,
        args=_arguments(config, folder, validates=judge is not None),
        train_dataset=train.table,
        # The Trainer asks for one where it validates; the judge has its own.
        eval_dataset=None if validation is None else validation.table,
        callbacks=[_History(folder, say)],
    )


def _arguments(config: CritiqueConfig, folder: Path, *, validates: bool) -> TrainingArguments:
    optimisation, run = config.optimisation, config.run
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = optimisation.pairs_per_batch * processes
    if optimisation.pairs_per_step % at_once:
        raise ConfigError(
            f"optimisation.pairs_per_step ({optimisation.pairs_per_step}) is no multiple of "
            f"pairs_per_batch x processes ({optimisation.pairs_per_batch} x {processes})"
        )
    validating = validates and run.validate_every_steps is not None
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
    return TrainingArguments(
        output_dir=str(folder / "saves"),
        seed=run.seed,
        num_train_epochs=optimisation.epochs,
        max_steps=optimisation.max_steps or -1,
        per_device_train_batch_size=optimisation.pairs_per_batch,
        gradient_accumulation_steps=optimisation.pairs_per_step // at_once,
        learning_rate=optimisation.learning_rate,
        lr_scheduler_type=optimisation.schedule,
        warmup_steps=optimisation.warm_up_share,
        weight_decay=optimisation.weight_decay,
        adam_beta1=optimisation.betas[0],
        adam_beta2=optimisation.betas[1],
        max_grad_norm=optimisation.max_grad_norm,
        bf16=run.precision == "bf16-mixed",
        use_cpu=run.cpu,
        gradient_checkpointing=run.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=run.save_every_steps,
        save_total_limit=run.keep_saves,
        eval_strategy="steps" if validating else "no",
        eval_steps=run.validate_every_steps if validating else None,
        logging_steps=1,
        # A loss that is NaN must be seen: by default the Trainer hides it.
        logging_nan_inf_filter=False,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        label_names=[],
        dataloader_num_workers=config.data.workers,
        average_tokens_across_devices=False,
        ddp_find_unused_parameters=config.train_vision,
    )


class _History(TrainerCallback):  # type: ignore[misc]
    """Writes log and curves whenever the Trainer saves, and checks once that shards are real."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder = folder
        self._say = say

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        share = check_sharded(named["model"])
        if share is not None:
            self._say(
                f"{share:.0%} of the trained weights are in parts on {args.world_size} processes"
            )

    def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        if state.is_world_process_zero:
            write_history(state.log_history, self._folder)


def write_history(history: list[dict[str, Any]], folder: Path) -> None:
    """The log as JSON and as curves."""
    (folder / HISTORY_FILE).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    draw_curves(history, folder / CURVES_FILE)


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


def _claim(config: CritiqueConfig, folder: Path, resume: bool) -> None:
    """Write the resolved settings, or compare them with those of the run that is resumed."""
    file = folder / CONFIG_FILE
    wanted = config.model_dump(mode="json")
    if file.is_file():
        if not resume:
            raise ConfigError(f"{folder} holds a run: resume it, or choose another folder")
        saved = CritiqueConfig.model_validate_json(file.read_text(encoding="utf-8"))
        free: Any = _FREE
        if saved.model_dump(exclude=free) != config.model_dump(exclude=free):
            old = saved.model_dump(mode="json")
            changed = [name for name in wanted if wanted[name] != old[name]]
            raise ConfigError(f"{file} was written with other settings: {', '.join(changed)}")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _tables(
    config: CritiqueConfig, folder: Path, encoder: PairEncoder, say: Say
) -> tuple[Rows, Rows | None]:
    data = config.data
    encode = encoder.encode if data.unusable == "skip" else None
    train = row_tables.build_rows(data.train, data, folder / "data" / "train", encode=encode)
    say(f"training rows: {_account(train)}")
    if not data.validation:
        return train, None
    validation = row_tables.build_rows(
        data.validation, data, folder / "data" / "validation", encode=encode
    )
    say(f"validation rows: {_account(validation)}")
    common = set(train.fingerprints).intersection(validation.fingerprints)
    if common:
        raise ConfigError(
            f"{len(common)} validation rows are training rows, too, the first of them row "
            f"{next(i for i, one in enumerate(validation.fingerprints, 1) if one in common)}"
        )
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


def _finish(
    config: CritiqueConfig,
    parts: Parts,
    history: list[dict[str, Any]],
    train: Rows,
    validation: Rows | None,
    output: Path,
) -> None:
    folder = output / RUN_FOLDER
    write_history(history, folder)
    spec = parts.spec.model_copy(
        update={"training_rows": {"count": len(train), "sha256": train.report["fingerprint"]}}
    )
    export_checkpoint(
        folder / "final",
        config.model,
        output,
        spec,
        dtype=config.run.export_dtype,
        processor=parts.processor,
    )
    last = [one for one in history if any(name.startswith("eval_") for name in one)]
    result = {
        "steps": max((one["step"] for one in history), default=0),
        "rows": train.report,
        "validation_rows": None if validation is None else validation.report,
        "validation": last[-1] if last else None,
    }
    (folder / RESULT_FILE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _mute(line: str) -> None: ...
