"""TRL, imported with or without vLLM.

TRL imports vLLM whenever a package of that name is installed, also for runs that do not use it:
that takes longer than everything else at the start, and warns of versions that it does not know
(the CPU build of vLLM has the same import name). So vLLM is hidden from it unless rollouts use it.
"""

from __future__ import annotations

from typing import Any

from mmreward_trainer.critique.configuration import ConfigError


def import_trl(*, with_vllm: bool) -> tuple[Any, Any]:
    """(GRPOTrainer, GRPOConfig).

    Raises:
        ConfigError: TRL is not installed, or vLLM is asked for and is not.
    """
    try:
        from trl import import_utils
    except ImportError as error:
        raise ConfigError(
            "reinforcement learning needs TRL: pip install mmreward[train]"
        ) from error
    is_available = import_utils.is_vllm_available
    if with_vllm and not is_available():
        raise ConfigError("rl.use_vllm: vLLM is not installed")
    if not with_vllm:
        import_utils.is_vllm_available = lambda *arguments, **named: False
    try:
        from trl.trainer.grpo_config import GRPOConfig
        from trl.trainer.grpo_trainer import GRPOTrainer
    finally:
        import_utils.is_vllm_available = is_available
    return GRPOTrainer, GRPOConfig
