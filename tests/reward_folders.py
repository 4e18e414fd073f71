"""A tiny checkpoint folder without a model around it: a tokenizer, a config and a head."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mmreward_service.reward.checkpoint import write_reward
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.spec import HeadSpec, RewardSpec, Templates
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>"]
HIDDEN_SIZE = 8
VOCAB_SIZE = 320


def byte_tokenizer_json() -> str:
    """Byte-level BPE without merges, plus chat tokens and one added token that is not special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    return tokenizer.to_str()


def make_spec(**changes: object) -> RewardSpec:
    fields: dict[str, object] = {
        "kinds": ["critique"],
        "head": HeadSpec(type="tanh"),
        "read_out": "last_critique_token",
        "score_slot": 300,
        "templates": Templates(
            critique="<|im_start|>user\n{media}Q: {prompt}\nA: {response}<|im_end|>\n"
            "<|im_start|>assistant\n",
            image="<|image_pad|>",
            video="<|video_pad|>",
            end_of_turn="<|im_end|>",
            after_turn="<|im_end|>\n",
        ),
        "max_critique_tokens": 32,
        "trainer_version": "test",
    }
    return RewardSpec.model_validate(fields | changes)


def make_folder(path: Path) -> Path:
    """A folder that `load_spec` accepts; tests break one thing at a time."""
    config = {"text_config": {"hidden_size": HIDDEN_SIZE, "vocab_size": VOCAB_SIZE}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(byte_tokenizer_json())
    save_file({"model.weight": torch.ones(2, 2)}, path / "model.safetensors")
    torch.manual_seed(0)
    write_reward(path, make_spec(), RewardHead(HIDDEN_SIZE, HeadSpec(type="tanh")))
    return path
