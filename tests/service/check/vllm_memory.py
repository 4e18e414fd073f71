"""Starts vLLM on a checkpoint in this process and prints what it holds, as one JSON object."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(folder: Path) -> None:
    # The model must be in this process to be counted.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from mmreward_service.engine.vllm import fence
    from mmreward_service.engine.vllm.arguments import engine_arguments
    from mmreward_service.engine.vllm.environment import prepare_environment
    from mmreward_service.engine.vllm.plugin import ARCHITECTURES, register_class

    prepare_environment(enforce_eager=True)
    from vllm import LLM

    _, architecture = fence.check_checkpoint(folder)
    arguments = engine_arguments(
        folder=folder,
        model_class=ARCHITECTURES[architecture],
        served_name="m",
        dtype="bfloat16",
        max_model_len=512,
        kv_cache_gib=1 / 16,
        max_num_seqs=8,
        enforce_eager=True,
        max_images=2,
        on_cpu=True,
        extra={},
    )
    register_class(ARCHITECTURES[architecture])
    llm = LLM(**arguments)
    engine = llm.llm_engine
    worker = engine.engine_core.engine_core.model_executor.driver_worker.worker
    told = {
        "parameter_bytes": sum(
            parameter.numel() * parameter.element_size()
            for parameter in worker.model_runner.model.parameters()
        ),
        "cache_tokens": engine.vllm_config.cache_config.kv_cache_size_tokens,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
