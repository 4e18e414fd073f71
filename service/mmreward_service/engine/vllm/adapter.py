"""A reward head for any multimodal model class of vLLM: the score leaves in the logits.

The hidden state from which the next token is predicted is the one the reward head reads, and
`compute_logits` is where vLLM hands over exactly those hidden states, on either of its model
runners. So the head runs there and its score goes into the score slot (see `reward.slot`): no
second pass, no hook into the sampler. Everything else is the parent's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from vllm.distributed import get_pp_group

from mmreward_service.engine.vllm.weights import RenamingModel
from mmreward_service.reward.checkpoint import CheckpointError, tokenizer_size
from mmreward_service.reward.head import HEAD_PREFIX, RewardHead
from mmreward_service.reward.slot import write_slot
from mmreward_service.reward.spec import RewardSpec

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class ScoreSlotModel(RenamingModel):
    """Mix-in placed before a vLLM model class: `class X(ScoreSlotModel, StockClass)`.

    Under tensor parallelism hidden states and gathered logits are the same on every rank, so the
    head is simply there on each; under pipeline parallelism only the last rank has one.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        model_config = vllm_config.model_config
        spec = RewardSpec.model_validate(model_config.hf_config.reward)
        if spec.head is None or spec.score_slot is None:
            raise CheckpointError("a judge alone has no head: it runs as its stock class")
        self.reward_head: RewardHead | None = None
        if get_pp_group().is_last_rank:
            self.reward_head = RewardHead(model_config.get_hidden_size(), spec.head).eval()
        self._score_slot = spec.score_slot
        self._tokenizer_size = tokenizer_size(Path(model_config.model))

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """Hidden states (n, hidden) -> logits (n, vocabulary) float32 with the scores inside.

        None where the parent gathers the logits on another rank.
        """
        logits = super().compute_logits(hidden_states)  # type: ignore[misc]
        if logits is None or self.reward_head is None:
            return logits
        # A score in 16 bits has 8 of them: the whole row becomes float32, as the sampler would
        # make it a moment later anyway.
        return write_slot(
            logits.to(torch.float32),
            self.reward_head(hidden_states),
            self._score_slot,
            self._tokenizer_size,
        )

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Head tensors into the head, all others to the parents."""
        found: dict[str, torch.Tensor] = {}

        def without_head() -> Iterable[tuple[str, torch.Tensor]]:
            for name, tensor in weights:
                if name.startswith(HEAD_PREFIX):
                    found[name.removeprefix(HEAD_PREFIX)] = tensor
                else:
                    yield name, tensor

        loaded = super().load_weights(without_head())
        return loaded | self._load_head(found)

    def _load_head(self, found: dict[str, torch.Tensor]) -> set[str]:
        if self.reward_head is None:
            return set()
        for name, parameter in self.reward_head.named_parameters():
            if name not in found:
                raise CheckpointError(f"the checkpoint has no tensor {HEAD_PREFIX}{name}")
            if found[name].shape != parameter.shape:
                raise CheckpointError(
                    f"tensor {HEAD_PREFIX}{name} has shape {list(found[name].shape)}, "
                    f"the head needs {list(parameter.shape)}"
                )
            parameter.data.copy_(found[name])
        return {HEAD_PREFIX + name for name, _ in self.reward_head.named_parameters()}
