"""The model under training: a vision-language model of transformers with a reward head in it.

`reward_class` makes of a model class one of the same name whose `forward` also takes a packed
batch. The head is a submodule `reward_head`, so that saving, resuming, sharding, LoRA and the
checkpoint format all find it where the service looks for it.

The packed forward computes less than `labels=...` would: each picture goes through the vision tower
once, logits are made for learned tokens only and in slices, so that (tokens, vocabulary) in float32
never exists as a whole.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.spec import HeadSpec
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from mmreward_trainer.critique.packing import MediaTokens, RopeIndex, attention_allowed

LOGIT_SLICE = 1024
"""Learned tokens whose logits are in memory at once."""

_OWN_MASKS = ("eager", "sdpa")


@dataclass
class RewardOutput:
    """What a packed forward pass gives: losses of the learned tokens (T,), scores (N,), float32."""

    token_losses: torch.Tensor
    scores: torch.Tensor


class RewardMixin:
    """Adds the packed forward pass to a model class; everything else stays the model's."""

    _keep_in_fp32_modules_strict = frozenset({"reward_head"})
    reward_head: RewardHead | None  # None: a judge alone, whose scores are text

    def forward(self, *arguments: Any, branches: torch.Tensor | None = None, **named: Any) -> Any:
        """The model's own forward pass, or with `branches` that of a packed batch."""
        if branches is None:
            return super().forward(*arguments, **named)  # type: ignore[misc]
        return self._packed_forward(branches=branches, **named)

    def _packed_forward(
        self,
        *,
        input_ids: torch.Tensor,
        branches: torch.Tensor,
        position_ids: torch.Tensor,
        learned_at: torch.Tensor,
        learned_ids: torch.Tensor,
        read_at: torch.Tensor,
        image_order: torch.Tensor | None = None,
        video_order: torch.Tensor | None = None,
        **media: torch.Tensor,
    ) -> RewardOutput:
        model: Any = self.model  # type: ignore[attr-defined]
        encoded: dict[str, Any] = {}
        if image_order is not None:
            encoded["image"] = _encode(model.get_image_features, media, image_order)
        if video_order is not None:
            encoded["video"] = _encode(model.get_video_features, media, video_order)
        if bool((branches > 0).any()):
            mask = self._own_mask(attention_allowed(branches))
        else:
            mask = (branches == 0).long()
        states = model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=position_ids,
            mm_encoder_outputs=encoded or None,
            use_cache=False,
        ).last_hidden_state
        learned = states[learned_at[0], learned_at[1]]
        read = states[read_at[0], read_at[1]]
        scores = read[:, 0] if self.reward_head is None else self.reward_head(read)
        return RewardOutput(self._token_losses(learned, learned_ids), scores)

    def _own_mask(self, allowed: torch.Tensor) -> torch.Tensor:
        """Booleans for sdpa, what is added to the scores for eager attention."""
        if self.config._attn_implementation != "eager":  # type: ignore[attr-defined]
            return allowed
        dtype: torch.dtype = self.dtype  # type: ignore[attr-defined]
        return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)

    def _token_losses(self, states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each learned token; logits by slices, and again for backward."""

        def losses(states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            logits = self.lm_head(states)  # type: ignore[attr-defined]
            return F.cross_entropy(logits.float(), ids, reduction="none")

        # Without learned tokens there is one empty slice: sharded modules run on every process.
        slices = [
            checkpoint(losses, part, part_ids, use_reentrant=False)
            for part, part_ids in zip(
                states.split(LOGIT_SLICE), ids.split(LOGIT_SLICE), strict=True
            )
        ]
        return torch.cat(slices)


def _encode(encode: Any, media: dict[str, torch.Tensor], order: torch.Tensor) -> Any:
    """Features of every picture once, then put where each of them stands in the batch."""
    accepted = inspect.signature(encode).parameters
    output = encode(
        **{name: tensor for name, tensor in media.items() if name in accepted}, return_dict=True
    )
    places = order.tolist()
    output.pooler_output = _reordered(output.pooler_output, places)
    if getattr(output, "deepstack_features", None) is not None:
        output.deepstack_features = [
            _reordered(layer, places) for layer in output.deepstack_features
        ]
    return output


def _reordered(features: Any, places: list[int]) -> Any:
    if isinstance(features, torch.Tensor):
        return features[places]
    return tuple(features[i] for i in places)


def reward_class(base: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """A subclass with the packed forward pass; of the same name, so that config.json names it."""
    made = type(base.__name__, (RewardMixin, base), {"__module__": base.__module__})

    def forward(self: Any, *arguments: Any, **named: Any) -> Any:
        return RewardMixin.forward(self, *arguments, **named)

    # Generation looks here for the arguments that it may pass on.
    forward.__signature__ = inspect.signature(base.forward)  # type: ignore[attr-defined]
    made.forward = forward  # type: ignore[attr-defined]
    return made


def load_reward_model(
    folder: Path | str,
    head: HeadSpec | None,
    *,
    dtype: torch.dtype,
    attention: str = "sdpa",
    seed: int = 0,
) -> Any:
    """A model with its head; a folder without a head gets a fresh one, drawn from `seed`.

    Args:
        head: None for a model without one.
    Raises:
        ValueError: a model class without what the packed forward pass needs.
        OSError: the folder cannot be read.
    """
    config = AutoConfig.from_pretrained(folder)
    stock = AutoModelForImageTextToText._model_mapping[type(config)]
    _check_class(stock)
    base = reward_class(stock)

    def __init__(self: Any, config: Any) -> None:
        stock.__init__(self, config)
        size = config.get_text_config().hidden_size
        self.reward_head = None if head is None else RewardHead(size, head)

    base.__init__ = __init__
    model, report = base.from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, output_loading_info=True
    )
    if head is not None and any(name.startswith("reward_head.") for name in report["missing_keys"]):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = RewardHead(config.get_text_config().hidden_size, head)
        model.reward_head.load_state_dict(fresh.state_dict())
    if head is not None:
        model.reward_head.float()
    missing = [name for name in report["missing_keys"] if not name.startswith("reward_head.")]
    if missing:
        raise ValueError(f"{folder} lacks tensors of {stock.__name__}: {sorted(missing)[:5]}")
    return model


def _check_class(stock: type[PreTrainedModel]) -> None:
    inner = inspect.signature(stock.forward).parameters
    if "mm_encoder_outputs" not in inner:
        raise ValueError(
            f"{stock.__name__} takes no encoded pictures (mm_encoder_outputs): "
            "it is not among the families this trainer knows"
        )


def media_tokens(config: Any) -> MediaTokens:
    """Ids of picture and frame placeholders; families name them differently."""
    image = getattr(config, "image_token_id", None)
    video = getattr(config, "video_token_id", None)
    return MediaTokens(
        getattr(config, "image_token_index", None) if image is None else image,
        getattr(config, "video_token_index", None) if video is None else video,
    )


def rope_index(model: Any) -> tuple[RopeIndex | None, frozenset[str]]:
    """The model's function of three-dimensional positions, and which sizes it takes."""
    function = getattr(model.model, "get_rope_index", None)
    if function is None:
        return None, frozenset()
    accepted = set(inspect.signature(function).parameters)
    sizes = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    return function, frozenset(accepted.intersection(sizes))


def can_share_prompt(model: Any) -> bool:
    """Whether attention takes a mask of its own, in every layer."""
    config = model.config.get_text_config()
    types = getattr(config, "layer_types", None) or ["full_attention"]
    return model.config._attn_implementation in _OWN_MASKS and set(types) == {"full_attention"}
