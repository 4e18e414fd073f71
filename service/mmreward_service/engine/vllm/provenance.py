"""What a score depends on, as a dictionary, and its fingerprint.

Two engines with one fingerprint give the same scores up to rounding; a client that insists on one
pins it. What only moves rounding (batch sizes, parallelism, eager mode) stays out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreward_service.engine.vllm.versions import installed_version, vllm_version
from mmreward_service.reward.spec import RewardSpec

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
)
_LIMITS = (
    "size",
    "min_pixels",
    "max_pixels",
    "patch_size",
    "merge_size",
    "image_grid_pinpoints",
)


def describe_engine(
    *,
    model_name: str,
    folder: Path,
    weights_sha256: str,
    spec: RewardSpec,
    config: VllmConfig,
    mm_processor_kwargs: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Provenance of a started engine, its `fingerprint` included."""
    model, load_format = config.model_config, config.load_config.load_format
    described = {
        "model": model_name,
        "weights_sha256": weights_sha256,
        "templates_sha256": _sha256(spec.templates.model_dump(mode="json")),
        "read_out": spec.read_out,
        "score_range": spec.score_range,
        # A trainer that takes its beta from the calibrated delta depends on it like on a weight.
        "calibration_sha256": _sha256([one.model_dump(mode="json") for one in spec.calibration]),
        "kinds": list(spec.kinds),
        "head": None if spec.head is None else spec.head.model_dump(mode="json"),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": model.quantization,
        "kv_cache_dtype": str(config.cache_config.cache_dtype),
        # "dummy" means random weights, whatever the checksum of the folder's says.
        "load_format": str(getattr(load_format, "value", load_format)),
        "processor": processor_limits(folder, mm_processor_kwargs),
        "versions": {
            "mmreward": installed_version("mmreward"),
            "vllm": vllm_version(),
            "torch": installed_version("torch"),
            "transformers": installed_version("transformers"),
        },
    }
    return {**described, "fingerprint": fingerprint(described)}


def fingerprint(described: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the sha256 of the canonical JSON."""
    return _sha256(described)[:16]


def processor_limits(
    folder: Path, mm_processor_kwargs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the processor does to pictures: its limits in words, its files as a checksum."""
    limits: dict[str, Any] = {}
    digest = hashlib.sha256()
    for name in _PROCESSOR_FILES:
        file = folder / name
        if not file.is_file():
            continue
        content = file.read_bytes()
        digest.update(name.encode() + b"\0" + content)
        if name != "tokenizer.json":
            settings = json.loads(content)
            for part, values in [("", settings), *settings.items()]:
                if isinstance(values, dict):
                    prefix = f"{part}." if part else ""
                    limits |= {prefix + key: values[key] for key in _LIMITS if key in values}
    return {
        "files_sha256": digest.hexdigest(),
        "limits": limits,
        "overrides": dict(mm_processor_kwargs or {}),
    }


def _sha256(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
