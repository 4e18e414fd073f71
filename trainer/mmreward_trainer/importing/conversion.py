"""A whole import, decided but not yet written: config, reward object, tensors, and what to tell.

Nothing here writes a file, so `--dry-run` shows exactly what a run would do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmreward_service.reward.checkpoint import text_setting
from mmreward_service.reward.prompt import PromptError, PromptRenderer
from mmreward_service.reward.spec import HeadSpec, RewardSpec, Templates

from mmreward_trainer.importing import llava_next, stock
from mmreward_trainer.importing.expected import ARCHITECTURES
from mmreward_trainer.importing.names import HEADS, Family, Form
from mmreward_trainer.importing.plan import (
    TensorPlan,
    detect_form,
    has_output_layer,
    plan_tensors,
    vocabulary_rows,
)
from mmreward_trainer.importing.processing import (
    build_processor,
    load_tokenizer,
    size_of,
    tokenizer_json,
)
from mmreward_trainer.importing.refusal import ImportRefused
from mmreward_trainer.importing.source import Source, open_source
from mmreward_trainer.importing.templates import read_templates, templates_of_chat

_RELEASED_CRITIQUE_TOKENS = 4096
"""max_new_tokens of the released MM-RLHF evaluation; half of the context where that is less."""


@dataclass(frozen=True)
class Wishes:
    """What the user asked for. `form` None: whatever head is found."""

    source: Path
    form: Form | None = None
    templates: Path | None = None
    vision_config: Path | None = None
    max_critique_tokens: int | None = None
    ignore: tuple[str, ...] = ()


@dataclass
class Conversion:
    """Everything that will be written; `spec` still without golden items."""

    source: Source
    form: Form
    family: Family
    config: dict[str, Any]
    spec: RewardSpec
    tensors: TensorPlan
    tokenizer: Any
    processor: Any
    notes: list[str] = field(default_factory=list)

    @property
    def writes_critiques(self) -> bool:
        return self.form == "llava-qwen"


def prepare(wishes: Wishes, version: str) -> Conversion:
    """Decide a whole import.

    Args:
        version: of this package, kept in the result.
    Raises:
        ImportRefused: naming every reason.
    """
    source = open_source(wishes.source)
    form = _form(source, wishes)
    notes: list[str] = []
    family, config = _model_config(source, form, wishes, notes)
    tokenizer = load_tokenizer(source.folder, form)
    if form == "llava-qwen":
        config["image_token_index"] = tokenizer.convert_tokens_to_ids(llava_next.IMAGE_TOKEN)
        config["video_token_index"] = tokenizer.convert_tokens_to_ids(llava_next.VIDEO_TOKEN)
    source_rows = text_setting(config, "vocab_size")
    rows = vocabulary_rows(source_rows, size_of(tokenizer))
    if rows != source_rows:
        _set_vocabulary(config, rows)
        notes.append(
            f"the tokenizer fills the vocabulary of {source_rows}: rows of zeros up to {rows} "
            "hold the score slot and new placeholders"
        )
    config["architectures"] = [ARCHITECTURES[family]]
    tensors = plan_tensors(
        source, form, family, config, source_rows=source_rows, ignore=list(wishes.ignore)
    )
    processor = build_processor(source.folder, form, tokenizer, config)
    spec = RewardSpec(
        kinds=["critique"],
        head=HeadSpec(type=HEADS[form].type, inner_size=tensors.head_inner_size),
        read_out="after_turn",
        score_slot=rows - 1,
        templates=_templates(form, wishes, processor, tokenizer),
        max_critique_tokens=wishes.max_critique_tokens or _critique_tokens(form, config),
        trainer_version=f"imported by mmreward {version}",
    )
    notes += _reading_notes(form, spec, tokenizer, config, tensors)
    config["imported"] = {
        "source": source.folder.resolve().name,
        "form": form,
        "converter": f"mmreward {version}",
        "notes": notes,
    }
    return Conversion(source, form, family, config, spec, tensors, tokenizer, processor, notes)


def _form(source: Source, wishes: Wishes) -> Form:
    found = detect_form(source)
    if wishes.form is not None and wishes.form != found:
        raise ImportRefused(f"--form {wishes.form} was asked for, and the head is that of {found}")
    is_llava = source.config.get("model_type") == "llava_qwen"
    if is_llava != (found == "llava-qwen"):
        raise ImportRefused(
            f"model_type {source.config.get('model_type')!r} with the head of {found}: only "
            "llava_qwen with rm_head, and the other families with score or v_head, are known"
        )
    return found


def _model_config(
    source: Source, form: Form, wishes: Wishes, notes: list[str]
) -> tuple[Family, dict[str, Any]]:
    if form == "llava-qwen":
        tower = _read_object(wishes.vision_config) if wishes.vision_config else None
        notes += llava_next.notes(source.config)
        # The placeholders' ids follow when the tokenizer has them.
        return "llava_onevision", llava_next.onevision_config(source.config, tower, 0, 0)
    if wishes.vision_config:
        raise ImportRefused("--vision-config belongs to the form llava-qwen")
    if form == "sequence-classification":
        stock.refuse_several_labels(source.config)
    family = stock.family_of(source.config)
    tie = not has_output_layer(source, form, family)
    if tie and not _is_tied(source.config):
        notes.append(
            "the source has no output layer and cannot write: the embedding stands in for it, "
            "only mode none gives scores that mean anything"
        )
    return family, stock.stock_config(source.config, tie=tie)


def _critique_tokens(form: Form, config: dict[str, Any]) -> int:
    if form != "llava-qwen":
        return 1
    return min(_RELEASED_CRITIQUE_TOKENS, text_setting(config, "max_position_embeddings") // 2)


def _is_tied(config: dict[str, Any]) -> bool:
    nested = config.get("text_config")
    inner = nested.get("tie_word_embeddings") if isinstance(nested, dict) else None
    return bool(config.get("tie_word_embeddings") or inner)


def _templates(form: Form, wishes: Wishes, processor: Any, tokenizer: Any) -> Templates:
    if wishes.templates is not None:
        return _joined(read_templates(wishes.templates))
    if form == "llava-qwen":
        raise ImportRefused(
            "the form llava-qwen needs --templates FILE: the wording that a critique reward model "
            "was trained with belongs to its checkpoint and is not in the folder (docs/import.md "
            "shows the file)"
        )
    end = tokenizer.eos_token
    return _joined(templates_of_chat(processor, "<|im_end|>" if end is None else str(end)))


def _joined(templates: Templates) -> Templates:
    """In runs unless the file says otherwise: other people train on whole strings."""
    if "join" in templates.model_fields_set:
        return templates
    return templates.model_copy(update={"join": "runs"})


def _reading_notes(
    form: Form, spec: RewardSpec, tokenizer: Any, config: dict[str, Any], tensors: TensorPlan
) -> list[str]:
    """Render once, so that templates and tokenizer fit, and look at the token that is read."""
    try:
        renderer = PromptRenderer(tokenizer_json(tokenizer), spec)
    except PromptError as error:
        raise ImportRefused(f"templates: {error}") from error
    last = renderer.after_turn_ids[-1]
    notes = [f"the score is read at the token {tokenizer.convert_ids_to_tokens(last)!r} ({last})"]
    nested = config.get("text_config")
    pad = (nested if isinstance(nested, dict) else config).get("pad_token_id")
    if form == "sequence-classification" and pad is not None and pad in renderer.after_turn_ids:
        raise ImportRefused(
            f"after_turn holds the padding token {pad}, and transformers reads a classifier at the "
            "last token that is not padding: give templates whose after_turn ends before it"
        )
    if any(w.source is None for shard in tensors.shards for w in shard):
        notes.append("the head has no bias: a bias of zero was added")
    if form != "llava-qwen":
        notes.append(
            "this model reads a score without a critique: ask for mode none; mode generate is cut "
            "after one token and gives no score"
        )
    return notes


def _set_vocabulary(config: dict[str, Any], rows: int) -> None:
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and "vocab_size" in part:
            part["vocab_size"] = rows


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportRefused(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImportRefused(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ImportRefused(f"{file} does not hold an object")
    return value
