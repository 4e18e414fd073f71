"""The reward head: one hidden state in, one score out. The only head of training and serving."""

from __future__ import annotations

import torch
from torch import nn

from mmreward_service.reward.spec import HeadSpec

HEAD_PREFIX = "reward_head."
"""Where the head's tensors live in a checkpoint's safetensors."""


class RewardHead(nn.Module):
    """score = out(activation(dense(h))), or out(h) for type `linear`.

    The shape of type `tanh` is MM-RLHF's (arXiv 2502.10391). Weights and arithmetic are float32
    whatever the model around it uses: a score in bfloat16 has 8 bits, which ruins margins.
    """

    def __init__(self, hidden_size: int, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.hidden_size = hidden_size
        inner_size = hidden_size if spec.type == "linear" else spec.inner_size or hidden_size
        self.dropout = nn.Dropout(spec.dropout)
        if spec.type != "linear":
            self.dense = nn.Linear(hidden_size, inner_size, dtype=torch.float32)
        self.out = nn.Linear(inner_size, 1, dtype=torch.float32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (..., hidden_size) of any dtype -> scores (...,) float32."""
        # A surrounding autocast would take the matmuls back to 16 bit.
        with torch.autocast(hidden.device.type, enabled=False):
            h = self.dropout(hidden.to(torch.float32))
            if self.spec.type == "tanh":
                h = self.dropout(torch.tanh(self.dense(h)))
            elif self.spec.type == "silu":
                h = self.dropout(nn.functional.silu(self.dense(h)))
            score: torch.Tensor = self.out(h).squeeze(-1)
            return score


def head_tensor_shapes(hidden_size: int, spec: HeadSpec) -> dict[str, tuple[int, ...]]:
    """Name (without prefix) -> shape of every tensor a head of this spec must have."""
    with torch.device("meta"):
        head = RewardHead(hidden_size, spec)
    return {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
