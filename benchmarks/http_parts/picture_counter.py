"""Counts in vLLM's worker the pictures that pass the vision tower; vLLM has no metric for it.

The service is started with `worker_extension_cls` naming `PictureCounter`, so that vLLM imports
this file where the model runs. Each picture appends one byte to the file that the environment
names: its size is the count, whichever process the worker is, and the difference over a measurement
leaves out the profile run of the start.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

VARIABLE = "MMREWARD_BENCH_PICTURES"
EXTENSION = "http_parts.picture_counter.PictureCounter"


class PictureCounter:
    """Adds nothing to the worker; vLLM wants a class to import."""


def pictures_so_far(file: Path) -> int | None:
    """None where nothing counts: the fake engine."""
    return file.stat().st_size if file.is_file() else None


def _count_in(file: str) -> None:
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VisionTransformer

    forward = Qwen2_5_VisionTransformer.forward

    def counting(self: Any, x: Any, grid_thw: Any, **further: Any) -> Any:
        with open(file, "ab") as stream:
            stream.write(b"." * (0 if grid_thw is None else len(grid_thw)))
        return forward(self, x, grid_thw, **further)

    Qwen2_5_VisionTransformer.forward = counting


if VARIABLE in os.environ:
    _count_in(os.environ[VARIABLE])
