"""The arguments vLLM is started with: ours, the user's, and those nobody may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmreward_service.engine.vllm.fence import RAW_LOGITS

FAIR_POLICY = "priority"

_GIB = 1 << 30
_CPU_KV_CACHE_GIB = 1.0


def engine_arguments(
    *,
    folder: Path,
    model_class: str | None,
    served_name: str,
    dtype: str,
    max_model_len: int | None,
    kv_cache_gib: float | None,
    max_num_seqs: int | None,
    enforce_eager: bool,
    max_images: int,
    on_cpu: bool,
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Keyword arguments of vLLM's AsyncEngineArgs; `extra` has passed the fence and wins over
    everything but the model class and the raw logits.

    Args:
        model_class: ours that replaces the one of the folder; None: vLLM's own.
    """
    ours: dict[str, Any] = {
        "model": str(folder),
        "served_model_name": served_name,
        "dtype": dtype,
        "max_model_len": max_model_len,
        "max_num_seqs": max_num_seqs,
        "enforce_eager": enforce_eager,
        "enable_prefix_caching": True,
        # By the tags of `fairness`. Another policy of the user's ignores them.
        "scheduling_policy": FAIR_POLICY,
        "limit_mm_per_prompt": {"image": max_images, "video": 1},
        # Only the sampling we ask for: no defaults from the folder.
        "generation_config": "vllm",
    }
    if kv_cache_gib is None and on_cpu:
        kv_cache_gib = _CPU_KV_CACHE_GIB
    if kv_cache_gib is not None:
        ours["kv_cache_memory_bytes"] = int(kv_cache_gib * _GIB)
    if on_cpu:
        # The default of 128 tokens would keep short prompts out of the prefix cache.
        ours["block_size"] = 32
    given = {name: value for name, value in ours.items() if value is not None}
    overrides = dict(extra.get("hf_overrides") or {})
    if model_class is not None:
        overrides["architectures"] = [model_class]
    return {**given, **extra, "hf_overrides": overrides, "logprobs_mode": RAW_LOGITS}


def policy_warning(policy: str) -> str | None:
    """What it means that requests do not take turns; None where they do."""
    if policy == FAIR_POLICY:
        return None
    return (
        f"scheduling_policy {policy!r} takes critiques in order of arrival: whoever comes "
        "after a large group waits for all of it"
    )
