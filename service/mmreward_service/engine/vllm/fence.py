"""What would silently break the score slot is refused when the engine starts.

Three gates: the checkpoint, the engine arguments a user asked for, and the configuration that vLLM
made of them (a default of a later release could switch on what nobody asked for). Each refusal says
what the setting would do to a score. Quantised weights and KV caches are allowed: they move scores
honestly, and are part of the fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreward_service.engine.vllm.plugin import ARCHITECTURES
from mmreward_service.reward.checkpoint import (
    CheckpointError,
    load_spec,
    read_config,
    text_setting,
    tokenizer_size,
)
from mmreward_service.reward.spec import RewardSpec

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig

RAW_LOGITS = "raw_logits"


class FenceError(ValueError):
    """The engine must not start like this; the message lists every reason."""


@dataclass(frozen=True)
class _Forbidden:
    is_set: Callable[[Any], bool]
    reason: str


def _on(value: Any) -> bool:
    return bool(value)


def _more_than_one(value: Any) -> bool:
    return value is not None and int(value) > 1


_SPECULATION = _Forbidden(
    _on, "speculative decoding yields several tokens a step: score rows go missing or are dropped"
)
_CONTEXT_PARALLEL = _Forbidden(
    _more_than_one, "context parallelism spreads the hidden states over ranks; not proven here"
)
_OURS = _Forbidden(lambda _: True, "the engine sets this itself")

_FORBIDDEN_ARGUMENTS: dict[str, _Forbidden] = {
    "speculative_config": _SPECULATION,
    "spec_method": _SPECULATION,
    "spec_model": _SPECULATION,
    "spec_tokens": _SPECULATION,
    "logprobs_mode": _Forbidden(
        lambda mode: mode != RAW_LOGITS,
        f"scores are read from raw logits: logprobs_mode must stay {RAW_LOGITS!r}",
    ),
    "max_logprobs": _Forbidden(
        lambda n: n is not None and n != -1 and n < 1, "the score row needs max_logprobs of 1"
    ),
    "logits_processors": _Forbidden(_on, "a custom logits processor may write over the score slot"),
    "enable_lora": _Forbidden(
        _on, "an adapter moves the hidden states that the head was trained on: merge it at export"
    ),
    "default_mm_loras": _Forbidden(_on, "see enable_lora: merge adapters at export"),
    "enable_batch_sharded_sampling": _Forbidden(
        _on, "batch-sharded sampling bypasses compute_logits, where the score is written"
    ),
    "reasoning_parser": _Forbidden(
        _on, "a reasoning parser postpones structured output and changes when a turn ends"
    ),
    "prefill_context_parallel_size": _CONTEXT_PARALLEL,
    "decode_context_parallel_size": _CONTEXT_PARALLEL,
    "data_parallel_size": _Forbidden(
        _more_than_one, "start one service per replica and give the client all their addresses"
    ),
    "diffusion_config": _Forbidden(_on, "diffusion decoding has no last critique token"),
    "watermark_config": _Forbidden(_on, "a watermark biases which critique is written"),
    "video_pruning_rate": _Forbidden(
        _on, "pruned video tokens are not what the checkpoint was trained on"
    ),
    "skip_tokenizer_init": _Forbidden(_on, "pictures are preprocessed with the tokenizer"),
    "language_model_only": _Forbidden(_on, "a multimodal reward model needs its vision tower"),
    "model": _OURS,
    "tokenizer": _OURS,
    "runner": _OURS,
    "convert": _OURS,
}


def check_arguments(engine_args: Mapping[str, Any]) -> None:
    """Refuse extra engine arguments that would break the slot.

    Raises:
        FenceError: naming every one of them.
    """
    reasons = [
        f"{name}: {forbidden.reason}"
        for name, forbidden in _FORBIDDEN_ARGUMENTS.items()
        if name in engine_args and forbidden.is_set(engine_args[name])
    ]
    overrides = engine_args.get("hf_overrides")
    if overrides is not None:
        if not isinstance(overrides, Mapping):
            reasons.append("hf_overrides: must be a mapping, a function cannot be checked")
        elif taken := sorted({"architectures", "reward", "vocab_size"} & set(overrides)):
            reasons.append(f"hf_overrides: {', '.join(taken)} belong to the checkpoint")
    _refuse_if(reasons, "the engine arguments")


def check_checkpoint(folder: Path) -> tuple[RewardSpec, str | None]:
    """The reward object of a folder and the stock architecture that gets a head (None: none does).

    Raises:
        CheckpointError: the folder is no reward model, or of no family that can have a head.
    """
    config = read_config(folder)
    if _is_judge_alone(config.get("reward")):
        return load_spec(folder), None
    if tokenizer_size(folder) >= (size := text_setting(config, "vocab_size")):
        raise CheckpointError(
            f"the tokenizer fills the whole vocabulary of {size}: there is no free id for the "
            "score slot; enlarge the embedding by one at export"
        )
    spec = load_spec(folder)
    names = config.get("architectures") or []
    known = [name for name in names if name in ARCHITECTURES]
    if not known:
        raise CheckpointError(
            f"architecture {', '.join(map(str, names)) or '(none)'} is not supported; "
            f"supported are {', '.join(ARCHITECTURES)}"
        )
    return spec, known[0]


def _is_judge_alone(reward: Any) -> bool:
    """Whether the folder asks for no head, so that any class and vocabulary will do."""
    return isinstance(reward, dict) and reward.get("kinds") == ["judge"]


def check_config(config: VllmConfig, spec: RewardSpec) -> None:
    """Refuse a resolved vLLM configuration that would break the slot.

    Raises:
        FenceError: naming every reason.
    """
    model, parallel = config.model_config, config.parallel_config
    reasons = []
    if config.speculative_config is not None:
        reasons.append(_SPECULATION.reason)
    if config.lora_config is not None:
        reasons.append(_FORBIDDEN_ARGUMENTS["enable_lora"].reason)
    if model.logprobs_mode != RAW_LOGITS:
        reasons.append(_FORBIDDEN_ARGUMENTS["logprobs_mode"].reason)
    if model.logits_processors:
        reasons.append(_FORBIDDEN_ARGUMENTS["logits_processors"].reason)
    if model.runner_type != "generate":
        reasons.append(f"runner {model.runner_type!r} writes no critiques")
    if spec.score_slot is not None:
        if not set(model.architectures) <= set(ARCHITECTURES.values()):
            reasons.append(f"vLLM resolved {model.architectures}: our plug-in was not loaded")
        if spec.score_slot >= model.get_vocab_size():
            reasons.append(f"score slot {spec.score_slot} is outside vLLM's vocabulary")
    # Newer settings: absent from the older releases of the supported range.
    if getattr(parallel, "enable_batch_sharded_sampling", False):
        reasons.append(_FORBIDDEN_ARGUMENTS["enable_batch_sharded_sampling"].reason)
    for name in ("prefill_context_parallel_size", "decode_context_parallel_size"):
        if _more_than_one(getattr(parallel, name, 1)):
            reasons.append(f"{name}: {_CONTEXT_PARALLEL.reason}")
    _refuse_if(reasons, "the engine's configuration")


def check_sampling(params: SamplingParams) -> None:
    """Refuse sampling settings that mask or move the slot. Called on everything we send.

    Raises:
        FenceError: naming every reason.
    """
    reasons = []
    if params.structured_outputs is not None:
        reasons.append("structured output: the grammar's mask covers the score slot")
    if params.allowed_token_ids or params.bad_words or params.logit_bias:
        reasons.append("a list of allowed, bad or biased tokens may cover the score slot")
    if params.logprobs is not None:
        reasons.append("logprobs: raw logits of other tokens must not leave as probabilities")
    if params.prompt_logprobs is not None:
        reasons.append("prompt_logprobs switches the prefix cache off")
    _refuse_if(reasons, "a scored request")


def _refuse_if(reasons: list[str], where: str) -> None:
    if reasons:
        raise FenceError(f"{where} would break the scores: " + "; ".join(reasons))
