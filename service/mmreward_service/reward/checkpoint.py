"""Reading and writing the reward part of a Hugging Face checkpoint folder, with every refusal.

config.json carries the `reward` object (see `spec`), the safetensors carry the head under
`reward_head.`. A folder that would serve wrong scores is refused here, with a sentence that says
what is wrong, before any GPU is busy with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmreward_client.schema import describe
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from mmreward_service.reward.head import HEAD_PREFIX, RewardHead, head_tensor_shapes
from mmreward_service.reward.spec import HeadSpec, RewardSpec

INDEX_FILE = "model.safetensors.index.json"


class CheckpointError(ValueError):
    """The folder cannot be served; the message names the file and what is wrong with it."""


def load_spec(folder: Path) -> RewardSpec:
    """The reward object of a folder, checked against its tokenizer and its tensors."""
    config = read_config(folder)
    if "reward" not in config:
        raise CheckpointError(f"{folder}/config.json has no `reward` object: not a reward model")
    try:
        spec = RewardSpec.model_validate(config["reward"])
    except ValidationError as error:
        raise CheckpointError(f"{folder}/config.json, reward: {describe(error)}") from error
    if spec.head is not None and spec.score_slot is not None:
        _check_slot(folder, spec.score_slot, text_setting(config, "vocab_size"))
        _check_head(folder, spec.head, text_setting(config, "hidden_size"))
    return spec


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: not a checkpoint folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} does not hold an object")
    return config


def text_setting(config: dict[str, Any], name: str) -> int:
    """A size of the language model, which multimodal configs nest under `text_config`."""
    value = config.get("text_config", {}).get(name, config.get(name))
    if not isinstance(value, int):
        raise CheckpointError(f"config.json has no {name}")
    return value


def tokenizer_size(folder: Path) -> int:
    """One more than the largest token id in use, added tokens included."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist: a fast tokenizer is required")
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    ids = [int(i) for i in tokenizer["model"]["vocab"].values()]
    ids += [int(token["id"]) for token in tokenizer.get("added_tokens", [])]
    return max(ids) + 1


def _check_slot(folder: Path, slot: int, vocab_size: int) -> None:
    used = tokenizer_size(folder)
    if slot < used:
        raise CheckpointError(
            f"score_slot {slot} is a real token (the tokenizer uses ids below {used}): "
            f"choose one from {used} to {vocab_size - 1}"
        )
    if slot >= vocab_size:
        raise CheckpointError(f"score_slot {slot} is outside the vocabulary of {vocab_size}")


def _check_head(folder: Path, head: HeadSpec, hidden_size: int) -> None:
    found = {
        name.removeprefix(HEAD_PREFIX): shape
        for name, shape in _tensor_shapes(folder)
        if name.startswith(HEAD_PREFIX)
    }
    if not found:
        raise CheckpointError(f"{folder} has no tensor under {HEAD_PREFIX!r}: the head is missing")
    expected = head_tensor_shapes(hidden_size, head)
    for name, shape in expected.items():
        if name not in found:
            raise CheckpointError(f"{folder}: tensor {HEAD_PREFIX}{name} is missing")
        if found[name] != shape:
            raise CheckpointError(
                f"{folder}: tensor {HEAD_PREFIX}{name} has shape {list(found[name])}, "
                f"a {head.type} head needs {list(shape)}"
            )
    if extra := sorted(set(found) - set(expected)):
        raise CheckpointError(f"{folder}: a {head.type} head has no tensor {extra}")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, sharded or not, in name order."""
    index = folder / INDEX_FILE
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(names)]
    else:
        files = [folder / "model.safetensors"]
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{file} does not exist")
    return files


def _tensor_shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a dict
                    yield name, tuple(tensors.get_slice(name).get_shape())
        except SafetensorError as error:
            raise CheckpointError(f"{file} cannot be read: {error}") from error


def load_head(folder: Path, spec: RewardSpec) -> RewardHead:
    """The head of a checkpoint, in evaluation mode."""
    if spec.head is None:
        raise CheckpointError(f"{folder} is a judge: it has no reward head")
    head = RewardHead(text_setting(read_config(folder), "hidden_size"), spec.head)
    state = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if name.startswith(HEAD_PREFIX):
                    state[name.removeprefix(HEAD_PREFIX)] = tensors.get_tensor(name).float()
    head.load_state_dict(state)
    return head.eval()


def write_reward(folder: Path, spec: RewardSpec, head: RewardHead) -> None:
    """Add a reward object and a head to a saved model, then check the folder as serving will.

    The head goes into the last safetensors file, so that whoever copies the weights copies it.
    """
    state = {
        HEAD_PREFIX + name: t.detach().cpu().contiguous() for name, t in head.state_dict().items()
    }
    file = weight_files(folder)[-1]
    kept = {n: t for n, t in load_file(file).items() if not n.startswith(HEAD_PREFIX)}
    # A service may have the old file mapped into memory: it is replaced, never written into.
    part = file.with_name(file.name + ".part")
    save_file({**kept, **state}, part, metadata={"format": "pt"})
    part.replace(file)
    index = folder / INDEX_FILE
    if index.is_file():
        listing = json.loads(index.read_text(encoding="utf-8"))
        listing["weight_map"].update(dict.fromkeys(state, file.name))
        index.write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    write_spec(folder, spec)


def write_spec(folder: Path, spec: RewardSpec) -> None:
    """Put the reward object into config.json, then check the folder as serving will.

    Of a folder whose head is written already, this is all that a new reward object needs.
    """
    config = read_config(folder)
    config["reward"] = spec.model_dump(mode="json")
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    load_spec(folder)


def weights_fingerprint(folder: Path) -> str:
    """sha256 over the bytes of the weight files, in name order."""
    digest = hashlib.sha256()
    for file in weight_files(folder):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
