"""Whether weights that should lie in parts on several processes really do.

accelerate falls back to whole copies on every process without a word where it cannot shard (on
CPUs, or with a version it does not know), and a run that should have fitted does not.
"""

from __future__ import annotations

import os
from typing import Any

from mmreward_trainer.critique.configuration import ConfigError


def check_sharded(model: Any) -> float | None:
    """Share of the trained weights that lie in parts; None if FSDP was not asked for.

    Args:
        model: as the Trainer runs it, after preparation.
    Raises:
        ConfigError: FSDP was asked for, and most trained weights are whole.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    share = sharded_share(model)
    if share < 0.5:
        raise ConfigError(
            f"FSDP was asked for, but {share:.0%} of the trained weights are sharded: check the "
            "accelerate configuration (fsdp_version 2, on accelerators)"
        )
    return share


def sharded_share(model: Any) -> float:
    """Share of trained weights that are DTensors; weights of one process only count as whole."""
    from torch.distributed.tensor import DTensor

    sizes = [
        (parameter.numel(), isinstance(parameter, DTensor))
        for parameter in model.parameters()
        if parameter.requires_grad
    ]
    total = sum(size for size, _ in sizes)
    return sum(size for size, is_sharded in sizes if is_sharded) / total if total else 0.0
