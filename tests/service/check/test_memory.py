"""Memory: weights and KV cache to the byte, estimates from the folder's own bounds."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from mmreward_service.check.findings import Findings
from mmreward_service.check.folder import Folder, open_folder
from mmreward_service.check.memory import Load, needs
from mmreward_service.check.pictures import most_patches
from mmreward_service.check.report import Report
from mmreward_service.check.sharding import weight_bytes
from service_kit.real import DIGITS
from tiny_models import FAMILIES, Family, build_tiny_checkpoint
from transformers import AutoProcessor

from .conftest import check

LOAD = Load(model_len=512, sequences=4, step_tokens=2048)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Folder]:
    folders = {}
    for family in FAMILIES:
        path = tmp_path_factory.mktemp(family)
        build_tiny_checkpoint(path, family)
        folders[family] = open_folder(path, Findings())
    return folders


def need(report: Report, dtype: str, ranks: int):
    [found] = [one for one in report.needs if (one.dtype, one.ranks) == (dtype, ranks)]
    return found


def test_weights_of_the_bundled_model_are_those_of_its_file() -> None:
    """In float32 and on one GPU: the file without its header, byte for byte."""
    file = DIGITS / "model.safetensors"
    with file.open("rb") as stream:
        (header,) = struct.unpack("<Q", stream.read(8))
    tensors = file.stat().st_size - 8 - header
    assert need(check(DIGITS), "float32", 1).weights == tensors


def test_the_head_stays_in_float32() -> None:
    """Half the size for everything but the head."""
    report = check(DIGITS)
    head = sum(entry.size_bytes for entry in report.folder.head.values())
    full, half = (need(report, dtype, 1).weights for dtype in ("float32", "bfloat16"))
    assert half == (full - head) // 2 + head


@pytest.mark.parametrize("family", list(FAMILIES))
def test_ranks_share_the_matrices(tiny: dict[Family, Folder], family: Family) -> None:
    """Two ranks hold more than half each, by what is on both, and never more than the whole."""
    whole, part = (weight_bytes(tiny[family], "bfloat16", ranks) for ranks in (1, 2))
    assert whole / 2 < part < whole


def test_keys_and_values_have_no_more_parts_than_heads(tiny: dict[Family, Folder]) -> None:
    """Two KV heads on four GPUs: each has one, not half of one."""
    by_ranks = {
        one.ranks: one.kv_per_token
        for one in needs(tiny["qwen2_vl"], LOAD)
        if one.dtype == "bfloat16"
    }
    # 2 (keys, values) * 2 layers * 2 heads * 32 * 2 bytes
    assert by_ranks == {1: 512, 2: 256, 4: 256, 8: 256}


def test_heads_that_cannot_be_split_are_named(tiny: dict[Family, Folder]) -> None:
    """Four heads of the language model, two of the tower."""
    refused = {one.ranks: one.refused for one in needs(tiny["qwen2_5_vl"], LOAD)}
    assert refused == {
        1: None,
        2: None,
        4: "2 heads of the vision tower",
        8: "4 attention heads",
    }


def test_the_cache_is_for_all_sequences_at_full_length() -> None:
    """max_model_len in whole blocks, times the sequences at once; fp8 halves it."""
    report = check(DIGITS, max_model_len=100, max_num_seqs=3)
    found = need(report, "bfloat16", 1)
    assert found.kv_cache == found.kv_per_token * 112 * 3
    smaller = check(
        DIGITS, max_model_len=100, max_num_seqs=3, engine_args={"kv_cache_dtype": "fp8"}
    )
    assert need(smaller, "bfloat16", 1).kv_cache * 2 == found.kv_cache


@pytest.mark.parametrize("family", list(FAMILIES))
def test_no_picture_has_more_patches_than_the_bound(
    tiny: dict[Family, Folder], family: Family
) -> None:
    """A picture far larger than the limit, through the folder's own processor."""
    from tiny_models import noise

    processor = AutoProcessor.from_pretrained(tiny[family].path)
    made = processor.image_processor(images=[noise(0, 700, 640)], return_tensors="pt")
    pixels = made["pixel_values"]
    patches = len(pixels) if pixels.ndim == 2 else pixels.shape[1] * (56 // 14) ** 2
    bound = most_patches(tiny[family])
    assert bound is not None
    assert bound / 2 < patches <= bound


@pytest.mark.parametrize(
    ("ratio", "tiles", "fits"),
    [
        ("anyres_max_9", 36, True),
        ("anyres_max_4", 4, True),
        ("anyres_max_4", 6, False),
        ("anyres_max_12", 9, True),
        ("anyres_max_12", 12, False),
        ("anyres", 1, False),
    ],
)
def test_a_limit_that_vllm_does_not_read_is_found(
    tmp_path: Path, ratio: str, tiles: int, fits: bool
) -> None:
    """vLLM shrinks LLaVA-OneVision's grids to 9 tiles; it matters where a grid can be larger than
    the smaller of both limits."""
    config = {
        "vision_aspect_ratio": ratio,
        "image_grid_pinpoints": [[56, 56 * tiles]],
        "vision_config": {"image_size": 56, "patch_size": 14},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = [f.topic for f in check(tmp_path).findings.problems]
    assert ("pictures" not in found) == fits


def test_a_folder_without_sizes_has_no_figures(tmp_path: Path) -> None:
    """No number is made up."""
    (tmp_path / "config.json").write_text("{}")
    assert check(tmp_path).needs == []


def test_the_published_size_is_what_is_known_of_it(tmp_path: Path) -> None:
    """Qwen2-7B with SigLIP: 8.03 billion parameters in 16 bits, 56 KiB of cache a token."""
    text = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
    }
    (tmp_path / "config.json").write_text(json.dumps({"text_config": text}))
    header = {
        "language_model.lm_head.weight": {
            "dtype": "BF16",
            "shape": [152064, 3584],
            "data_offsets": [0, 152064 * 3584 * 2],
        }
    }
    raw = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        # A hole: the size is there, the disk is not used.
        stream.truncate(8 + len(raw) + 152064 * 3584 * 2)
    found = need(check(tmp_path), "bfloat16", 1)
    assert found.weights == 152064 * 3584 * 2
    assert found.kv_per_token == 57344


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "family", ["digits", *(pytest.param(one, marks=pytest.mark.soak) for one in FAMILIES)]
)
def test_vllm_holds_what_was_computed(tiny: dict[Family, Folder], family: str) -> None:
    """Bytes of all parameters, and tokens in a cache of 64 MiB, by vLLM itself in bfloat16. (In
    float32 its CPU backend repacks matrices out of the parameters, so they cannot be counted.)"""
    path = DIGITS if family == "digits" else tiny[family].path  # type: ignore[index]
    script = Path(__file__).with_name("vllm_memory.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    found = need(check(path), "bfloat16", 1)
    assert told["parameter_bytes"] == found.weights
    assert told["cache_tokens"] == (64 << 20) // found.kv_per_token
