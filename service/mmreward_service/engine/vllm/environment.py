"""Process settings that must be made before vLLM is imported.

vLLM reads them from the environment, and the processes it starts inherit them. What the user has
set stays as it is.
"""

from __future__ import annotations

import os
import shutil
import sys


def device_is_cpu() -> bool:
    """Whether this torch can run on nothing but the CPU. Does not initialise a GPU."""
    import torch

    return torch.version.cuda is None and torch.version.hip is None


def has_compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def prepare_environment(*, enforce_eager: bool) -> None:
    """On a CPU without a C++ compiler, or in eager mode, keep torch from compiling anything.

    A few functions of vLLM's sampler are compiled on first use even in eager mode. Without a
    compiler that kills the engine with the first request; with one it costs the first request
    many seconds. The switch is one for both, so that all machines run the same code.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if device_is_cpu() and (enforce_eager or not has_compiler()):
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
        # The variable is read when torch._dynamo is imported, which may have happened.
        if dynamo := sys.modules.get("torch._dynamo"):
            dynamo.config.disable = True
