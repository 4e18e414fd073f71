"""A folder that would serve wrong scores is refused with a sentence that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_service.reward.checkpoint import (
    CheckpointError,
    load_head,
    load_spec,
    weights_fingerprint,
    write_reward,
)
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.spec import HeadSpec
from safetensors.torch import load_file, save_file


def edit_reward(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config["reward"])
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("kind", ["tanh", "silu", "linear"])
def test_head_survives_the_round_trip_bit_for_bit(folder: Path, kind: str) -> None:
    """What the trainer wrote is what the service computes with, next to the model's own tensors."""
    spec = load_spec(folder).model_copy(update={"head": HeadSpec(type=kind, inner_size=None)})
    head = RewardHead(8, spec.head).eval()
    write_reward(folder, spec, head)
    assert load_spec(folder) == spec
    loaded = load_head(folder, spec)
    hidden = torch.randn(5, 8)
    assert torch.equal(loaded(hidden), head(hidden))
    assert "model.weight" in load_file(folder / "model.safetensors")


def test_sharded_weights_keep_their_index(folder: Path) -> None:
    """The head of a sharded checkpoint is found through the index file."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    head_names = [n for n in tensors if n.startswith("reward_head.")]
    save_file({"model.weight": tensors["model.weight"]}, folder / "a.safetensors")
    save_file({n: tensors[n] for n in head_names}, folder / "b.safetensors")
    weight_map = {"model.weight": "a.safetensors"} | dict.fromkeys(head_names, "b.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    spec = load_spec(folder)
    head = RewardHead(8, spec.head)
    write_reward(folder, spec, head)
    assert torch.equal(load_head(folder, spec).out.weight, head.out.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(score_slot=3), "score_slot 3 is a real token"),
        (lambda r: r.update(score_slot=320), "outside the vocabulary of 320"),
        (lambda r: r["head"].update(type="silu", inner_size=4), "needs"),
        (lambda r: r["head"].update(type="linear"), "has no tensor"),
        (lambda r: r["templates"].update(critique="{media}{prompt}"), "lacks the placeholder"),
        (lambda r: r["templates"].update(image="{picture}"), "must not have"),
        (lambda r: r.update(read_out="somewhere"), "read_out"),
        (lambda r: r.update(colour="blue"), "colour"),
        (lambda r: r.pop("head"), "head"),
    ],
)
def test_refusals(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit_reward(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_spec(folder)


def test_refuses_a_missing_head(folder: Path) -> None:
    save_file({"model.weight": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="the head is missing"):
        load_spec(folder)


def test_refuses_half_a_head(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["reward_head.out.bias"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"reward_head\.out\.bias is missing"):
        load_spec(folder)


def test_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_spec(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a reward model"):
        load_spec(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_spec(tmp_path)


def test_refuses_damaged_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_spec(folder)


def test_fingerprint_follows_the_weights(folder: Path) -> None:
    """One changed number anywhere changes what callers have pinned."""
    before = weights_fingerprint(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["reward_head.out.bias"] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert weights_fingerprint(folder) != before
