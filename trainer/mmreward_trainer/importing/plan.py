"""What becomes of every tensor of a source, decided from headers alone.

Every tensor is accounted for: written under a new name, part of the head, left out for a reason, or
unknown, which refuses the import unless the user names it to be ignored. Every tensor that the
model must have is there with the right shape, or is named as missing.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any

from mmreward_service.check.headers import TensorEntry
from mmreward_service.reward.checkpoint import text_setting

from mmreward_trainer.importing.expected import EMBEDDING, OUTPUT_LAYER, expected_shapes
from mmreward_trainer.importing.names import (
    HEADS,
    Family,
    Form,
    canonical,
    dropped_because,
    head_name,
)
from mmreward_trainer.importing.refusal import ImportRefused
from mmreward_trainer.importing.source import Source
from mmreward_trainer.importing.writer import Written

HEAD_PREFIX = "reward_head."
VOCABULARY_MULTIPLE = 64
"""vLLM and tensor cores want a vocabulary in multiples of this."""


@dataclass(frozen=True)
class Move:
    """One tensor of the source and what becomes of it; `target` None means it is left out."""

    source: TensorEntry
    target: str | None
    remark: str = ""


@dataclass
class TensorPlan:
    """Moves in the order of the source, and the shards that come of them."""

    moves: list[Move] = field(default_factory=list)
    shards: list[list[Written]] = field(default_factory=list)
    head_inner_size: int | None = None


def detect_form(source: Source) -> Form:
    """The form whose head is among the tensors.

    Raises:
        ImportRefused: none is, or several are.
    """
    forms: list[Form] = ["llava-qwen", "sequence-classification", "value-head"]
    found = [form for form in forms if any(head_name(t.name, form) for t in source.tensors)]
    if len(found) == 1:
        return found[0]
    wanted = "; ".join(f"{form}: {', '.join(HEADS[form].tensors)}" for form in forms)
    what = "no reward head" if not found else f"heads of several forms ({', '.join(found)})"
    raise ImportRefused(f"{source.folder} has {what}. Known heads: {wanted}")


def vocabulary_rows(rows: int, tokenizer_size: int) -> int:
    """Rows of the imported embedding: as they are if an id is free for the score slot, else
    enlarged to the next multiple of 64 that frees one."""
    if tokenizer_size < rows:
        return rows
    return -(-(tokenizer_size + 1) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def has_output_layer(source: Source, form: Form, family: Family) -> bool:
    return any(canonical(t.name, form, family) == OUTPUT_LAYER[family] for t in source.tensors)


def plan_tensors(
    source: Source,
    form: Form,
    family: Family,
    config: dict[str, Any],
    *,
    source_rows: int,
    ignore: list[str],
) -> TensorPlan:
    """Decide for every tensor.

    Args:
        config: the config.json that will be written, its vocabulary enlarged if need be.
        source_rows: the vocabulary of the source.
        ignore: patterns of names that may be left out although nobody knows them.
    Raises:
        ImportRefused: naming every unknown, missing, doubled and misshapen tensor.
    """
    plan = TensorPlan()
    reasons: list[str] = []
    expected = expected_shapes(config, family)
    rows = text_setting(config, "vocab_size")
    grown = {EMBEDDING[family], OUTPUT_LAYER[family]} if rows != source_rows else set()
    written: dict[str, list[Written]] = {file.name: [] for file in source.files}
    seen: set[str] = set()
    for entry in source.tensors:
        move = _move(entry, form, family, expected, ignore)
        plan.moves.append(move)
        if move.target is None:
            if not move.remark:
                reasons.append(f"unknown tensor {entry.name} {list(entry.shape)}")
            continue
        if move.target in seen:
            reasons.append(f"{entry.name}: there is a second tensor for {move.target}")
        seen.add(move.target)
        shape = entry.shape
        if move.target in grown and shape[0] == source_rows:
            shape = (rows, *shape[1:])
        if move.target in expected and expected[move.target] != shape:
            reasons.append(
                f"{entry.name} has shape {list(entry.shape)}, the model needs "
                f"{list(expected[move.target])}"
            )
        written[entry.file.name].append(Written(move.target, entry.dtype, shape, entry))
    reasons += [f"missing tensor {name}" for name in sorted(set(expected) - seen)]
    reasons += _complete_head(plan, form, config, written)
    if reasons:
        hint = "--ignore PATTERN leaves unknown tensors out"
        if any(reason.startswith("unknown") for reason in reasons):
            reasons.append(hint)
        raise ImportRefused(*reasons)
    plan.shards = [tensors for tensors in written.values() if tensors]
    return plan


def _move(
    entry: TensorEntry,
    form: Form,
    family: Family,
    expected: dict[str, tuple[int, ...]],
    ignore: list[str],
) -> Move:
    if head := head_name(entry.name, form):
        return Move(entry, HEAD_PREFIX + head, "head")
    target = canonical(entry.name, form, family)
    if target in expected:
        return Move(entry, target)
    if reason := dropped_because(target, form):
        return Move(entry, None, reason)
    if target == OUTPUT_LAYER[family]:
        return Move(entry, None, "tied to the embedding")
    if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in ignore):
        return Move(entry, None, "ignored as asked")
    return Move(entry, None)


def _complete_head(
    plan: TensorPlan, form: Form, config: dict[str, Any], written: dict[str, list[Written]]
) -> list[str]:
    """Check the head's tensors, and add the zero bias that a form without one needs."""
    names, hidden = HEADS[form], text_setting(config, "hidden_size")
    found = {
        move.target.removeprefix(HEAD_PREFIX): move.source
        for move in plan.moves
        if move.target is not None and move.remark == "head"
    }
    reasons = [
        f"missing tensor {source}"
        for source, target in names.tensors.items()
        if target not in found and source not in names.optional
    ]
    out = found.get("out.weight")
    if out is None:
        return reasons
    if len(out.shape) != 2 or out.shape[0] != 1:
        return [
            *reasons,
            f"{out.name} has shape {list(out.shape)}: a head with {out.shape[0]} outputs gives no "
            "single score, and which of them is meant is not ours to guess",
        ]
    inner = out.shape[1]
    shapes = {"out.weight": (1, inner), "out.bias": (1,)}
    if names.type == "tanh":
        shapes |= {"dense.weight": (inner, hidden), "dense.bias": (inner,)}
        plan.head_inner_size = None if inner == hidden else inner
    elif inner != hidden:
        reasons.append(f"{out.name} reads {inner} values, the model's state has {hidden}")
    for name, shape in shapes.items():
        if name in found and found[name].shape != shape:
            reasons.append(
                f"{found[name].name} has shape {list(found[name].shape)}, the head needs "
                f"{list(shape)}"
            )
    if "out.bias" not in found and not reasons:
        shard = written[out.file.name]
        shard.append(Written(HEAD_PREFIX + "out.bias", "F32", (1,), None))
    return reasons
