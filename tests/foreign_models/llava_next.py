"""A LLaVA-NeXT checkpoint with MM-RLHF's reward head, and its score in plain torch.

Layout and names are those of the published checkpoints: no tokenizer.json, no `<image>` token, the
language model's settings at the top of config.json. The forward pass follows LLaVA-NeXT
(llava/model/llava_arch.py, llava/mm_utils.py), its SigLIP encoder and MM-RLHF's `RewardHead`
(llava/model/language_model/llava_qwen.py): pictures cut by anyres, features before the last norm of
the tower, `unpad`, bilinear shrinking, one newline column, Qwen2, and the head on the last token.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_models.tokenizer import tiny_tokenizer
from torch.nn import functional

IMAGE_TOKEN_INDEX = -200
SIDE, PATCH = 56, 14
TOWER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
CONFIG: dict[str, Any] = {
    "architectures": ["LlavaQwenForCausalLM"],
    "model_type": "llava_qwen",
    "is_rm": True,
    "attention_dropout": 0.0,
    "bos_token_id": 355,
    "eos_token_id": 354,
    "hidden_act": "silu",
    "hidden_size": 128,
    "image_aspect_ratio": "anyres_max_9",
    # (width, height), not symmetric, so that an exchange would be seen.
    "image_grid_pinpoints": [[56, 56], [112, 56], [168, 56], [112, 112], [224, 224]],
    "intermediate_size": 256,
    "max_position_embeddings": 2048,
    "max_window_layers": 2,
    "mm_hidden_size": 64,
    "mm_patch_merge_type": "spatial_unpad",
    "mm_projector_type": "mlp2x_gelu",
    "mm_spatial_pool_mode": "bilinear",
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "a-tower-nobody-knows",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_sliding_window": False,
    "vocab_size": 512,
}
PLACEHOLDERS = ("<image>", "<video>")


def build(folder: Path, *, shards: int = 1, vocab_size: int = 512, seed: int = 0) -> None:
    """Write the source. Its vision tower is described by `TOWER`, in no file of it."""
    config = {**CONFIG, "vocab_size": vocab_size}
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    tensors = random_tensors(vocab_size, seed)
    names = list(tensors)
    size = math.ceil(len(names) / shards)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        name = name if shards > 1 else "model.safetensors"
        part = {key: tensors[key] for key in names[number * size : (number + 1) * size]}
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    if shards > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    # Published folders hold this pickle of training settings. It is never opened.
    (folder / "training_args.bin").write_bytes(b"\x80\x04not to be read")


def write_tokenizer(folder: Path) -> None:
    """vocab.json, merges.txt and added tokens, as the slow tokenizer of Qwen2 saves them."""
    raw = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    (folder / "vocab.json").write_text(json.dumps(raw["model"]["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in raw["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    added = {
        token["content"]: token["id"]
        for token in raw["added_tokens"]
        if token["content"] not in PLACEHOLDERS
    }
    (folder / "added_tokens.json").write_text(json.dumps(added))
    decoder = {
        str(number): {
            "content": content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for content, number in added.items()
    }
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": decoder,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 32768,
        "padding_side": "right",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def random_tensors(vocab_size: int, seed: int) -> dict[str, torch.Tensor]:
    """All tensors under LLaVA-NeXT's names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.08) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale

    hidden, inner, kv, vision = 128, 256, 64, 64
    made: dict[str, torch.Tensor] = {
        "model.embed_tokens.weight": draw(vocab_size, hidden, scale=1.0)
    }
    for n in range(2):
        layer = f"model.layers.{n}."
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            made[f"{layer}self_attn.{name}_proj.weight"] = draw(rows, hidden)
            made[f"{layer}self_attn.{name}_proj.bias"] = draw(rows)
        made[f"{layer}self_attn.o_proj.weight"] = draw(hidden, hidden)
        made[f"{layer}mlp.gate_proj.weight"] = draw(inner, hidden)
        made[f"{layer}mlp.up_proj.weight"] = draw(inner, hidden)
        made[f"{layer}mlp.down_proj.weight"] = draw(hidden, inner)
        made[f"{layer}input_layernorm.weight"] = 1 + draw(hidden)
        made[f"{layer}post_attention_layernorm.weight"] = 1 + draw(hidden)
    made["model.norm.weight"] = 1 + draw(hidden)
    tower = "model.vision_tower.vision_tower.vision_model."
    made[f"{tower}embeddings.patch_embedding.weight"] = draw(vision, 3, PATCH, PATCH)
    made[f"{tower}embeddings.patch_embedding.bias"] = draw(vision)
    made[f"{tower}embeddings.position_embedding.weight"] = draw((SIDE // PATCH) ** 2, vision)
    for n in range(2):
        layer = f"{tower}encoder.layers.{n}."
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            made[f"{layer}self_attn.{name}.weight"] = draw(vision, vision)
            made[f"{layer}self_attn.{name}.bias"] = draw(vision)
        for name in ("layer_norm1", "layer_norm2"):
            made[f"{layer}{name}.weight"] = 1 + draw(vision)
            made[f"{layer}{name}.bias"] = draw(vision)
        made[f"{layer}mlp.fc1.weight"], made[f"{layer}mlp.fc1.bias"] = draw(128, vision), draw(128)
        made[f"{layer}mlp.fc2.weight"], made[f"{layer}mlp.fc2.bias"] = draw(vision, 128), draw(64)
    made[f"{tower}post_layernorm.weight"] = 1 + draw(vision)
    made[f"{tower}post_layernorm.bias"] = draw(vision)
    made["model.mm_projector.0.weight"] = draw(hidden, vision, scale=0.3)
    made["model.mm_projector.0.bias"] = draw(hidden)
    made["model.mm_projector.2.weight"] = draw(hidden, hidden, scale=0.3)
    made["model.mm_projector.2.bias"] = draw(hidden)
    made["model.image_newline"] = draw(hidden, scale=1.0)
    made["lm_head.weight"] = _ending(draw(vocab_size, hidden, scale=0.2), made)
    made["rm_head.dense.weight"] = draw(hidden, hidden)
    made["rm_head.dense.bias"] = draw(hidden)
    made["rm_head.out_proj.weight"] = draw(1, hidden, scale=0.3)
    made["rm_head.out_proj.bias"] = draw(1)
    return made


def _ending(output: torch.Tensor, made: dict[str, torch.Tensor]) -> torch.Tensor:
    """Some tokens make the end of the turn the likeliest next one; other specials never lead."""
    first_special, end_of_turn = 354, CONFIG["eos_token_id"]
    output[first_special:] = 0.0
    newline = 198  # the last token of a prompt, where no critique must end
    closing = [token for token in range(0, 200, 6) if token != newline]
    direction = made["model.embed_tokens.weight"][closing].sum(0)
    output[end_of_turn] = direction * (8.0 / direction.norm())
    return output


# ---- what the source computes -------------------------------------------------------------------


def score(tensors: dict[str, torch.Tensor], ids: list[int], picture: Image.Image) -> float:
    """MM-RLHF's reward of ids in which one -200 stands for the picture."""
    features = picture_features(tensors, picture)
    position = ids.index(IMAGE_TOKEN_INDEX)
    embed = tensors["model.embed_tokens.weight"]
    sequence = torch.cat((embed[ids[:position]], features, embed[ids[position + 1 :]]))
    last = qwen2(tensors, sequence)[-1]
    dense = torch.tanh(linear(tensors, "rm_head.dense", last))
    return float(linear(tensors, "rm_head.out_proj", dense))


def picture_features(tensors: dict[str, torch.Tensor], picture: Image.Image) -> torch.Tensor:
    """(tokens, hidden) of one picture: base tile, then the unpadded grid with newlines."""
    width, height = best_resolution(picture.size)
    tiles = [picture.resize((SIDE, SIDE)), *cut(pad_to(picture, (width, height)))]
    pixels = torch.stack([torch.from_numpy(np.asarray(t).astype(np.float32)) for t in tiles])
    pixels = ((pixels / 255 - 0.5) / 0.5).permute(0, 3, 1, 2)
    features = siglip(tensors, pixels)
    features = functional.gelu(linear(tensors, "model.mm_projector.0", features))
    features = linear(tensors, "model.mm_projector.2", features)
    base, grid = features[0], features[1:]
    unit, columns, rows = SIDE // PATCH, width // SIDE, height // SIDE
    grid = grid.view(rows, columns, unit, unit, -1).permute(4, 0, 2, 1, 3)
    grid = unpad(grid.flatten(1, 2).flatten(2, 3), picture.size)
    channels, high, wide = grid.shape
    times = math.sqrt(high * wide / (9 * unit**2))
    if times > 1.1:
        size = [int(high // times), int(wide // times)]
        grid = functional.interpolate(grid[None], size, mode="bilinear")[0]
    newline = tensors["model.image_newline"][:, None, None].expand(channels, grid.shape[1], 1)
    grid = torch.cat((grid, newline), dim=-1).flatten(1, 2).transpose(0, 1)
    return torch.cat((base, grid))


def best_resolution(size: tuple[int, int]) -> tuple[int, int]:
    best, most, least = (0, 0), 0, float("inf")
    for width, height in CONFIG["image_grid_pinpoints"]:
        scale = min(width / size[0], height / size[1])
        shrunk = int(size[0] * scale) * int(size[1] * scale)
        effective = min(shrunk, size[0] * size[1])
        wasted = width * height - effective
        if effective > most or (effective == most and wasted < least):
            best, most, least = (width, height), effective, wasted
    return best


def pad_to(picture: Image.Image, target: tuple[int, int]) -> Image.Image:
    across, down = target[0] / picture.width, target[1] / picture.height
    if across < down:
        size = (target[0], min(math.ceil(picture.height * across), target[1]))
    else:
        size = (min(math.ceil(picture.width * down), target[0]), target[1])
    canvas = Image.new("RGB", target, (0, 0, 0))
    corner = ((target[0] - size[0]) // 2, (target[1] - size[1]) // 2)
    canvas.paste(picture.resize(size), corner)
    return canvas


def cut(picture: Image.Image) -> list[Image.Image]:
    return [
        picture.crop((left, top, left + SIDE, top + SIDE))
        for top in range(0, picture.height, SIDE)
        for left in range(0, picture.width, SIDE)
    ]


def unpad(grid: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    high, wide = grid.shape[1:]
    if size[0] / size[1] > wide / high:
        padding = (high - int(size[1] * (wide / size[0]))) // 2
        return grid[:, padding : high - padding, :]
    padding = (wide - int(size[0] * (high / size[1]))) // 2
    return grid[:, :, padding : wide - padding]


def siglip(tensors: dict[str, torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
    """(tiles, patches, 64): the output of the last kept layer, before the tower's last norm."""
    tower = "model.vision_tower.vision_tower.vision_model."
    weight = tensors[f"{tower}embeddings.patch_embedding.weight"]
    bias = tensors[f"{tower}embeddings.patch_embedding.bias"]
    states = functional.conv2d(pixels, weight, bias, stride=PATCH).flatten(2).transpose(1, 2)
    states = states + tensors[f"{tower}embeddings.position_embedding.weight"]
    for n in range(2):
        layer = f"{tower}encoder.layers.{n}."
        normed = layer_norm(tensors, f"{layer}layer_norm1", states)
        heads = [
            linear(tensors, f"{layer}self_attn.{name}_proj", normed).unflatten(-1, (2, 32))
            for name in "qkv"
        ]
        q, k, v = (head.transpose(1, 2) for head in heads)
        weights = torch.softmax(q @ k.transpose(2, 3) * 32**-0.5, dim=-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        states = states + linear(tensors, f"{layer}self_attn.out_proj", mixed)
        normed = layer_norm(tensors, f"{layer}layer_norm2", states)
        inner = functional.gelu(linear(tensors, f"{layer}mlp.fc1", normed), approximate="tanh")
        states = states + linear(tensors, f"{layer}mlp.fc2", inner)
    return states


def qwen2(tensors: dict[str, torch.Tensor], states: torch.Tensor) -> torch.Tensor:
    """(tokens, hidden) -> (tokens, hidden), normed."""
    length = len(states)
    frequencies = 10000.0 ** (-torch.arange(0, 32, 2) / 32)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    cos, sin = (torch.cat((part, part), -1) for part in (angles.cos(), angles.sin()))
    mask = torch.full((length, length), -math.inf).triu(1)

    def turn(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat((-second, first), -1) * sin

    for n in range(2):
        layer = f"model.layers.{n}."
        normed = rms_norm(tensors, f"{layer}input_layernorm", states)
        q, k, v = (
            linear(tensors, f"{layer}self_attn.{name}_proj", normed)
            .unflatten(-1, (-1, 32))
            .transpose(0, 1)
            for name in "qkv"
        )
        q, k = turn(q), turn(k).repeat_interleave(2, 0)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(32) + mask, dim=-1)
        mixed = (weights @ v.repeat_interleave(2, 0)).transpose(0, 1).flatten(1)
        states = states + mixed @ tensors[f"{layer}self_attn.o_proj.weight"].T
        normed = rms_norm(tensors, f"{layer}post_attention_layernorm", states)
        gate = functional.silu(normed @ tensors[f"{layer}mlp.gate_proj.weight"].T)
        up = normed @ tensors[f"{layer}mlp.up_proj.weight"].T
        states = states + (gate * up) @ tensors[f"{layer}mlp.down_proj.weight"].T
    return rms_norm(tensors, "model.norm", states)


def linear(tensors: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def layer_norm(tensors: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return functional.layer_norm(x, (x.shape[-1],), weight, bias, eps=1e-6)


def rms_norm(tensors: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    variance = x.pow(2).mean(-1, keepdim=True)
    return tensors[f"{name}.weight"] * x * torch.rsqrt(variance + 1e-6)
