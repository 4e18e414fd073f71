"""The benchmarks are scripts beside each other: their folder is on the path, as Python puts it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))


@pytest.fixture(scope="session")
def benchmarks() -> Path:
    return BENCHMARKS


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL reward model whose critiques end by themselves."""
    from tiny_models import TinyOptions, build_tiny_checkpoint

    folder = tmp_path_factory.mktemp("benchmarks") / "tiny"
    build_tiny_checkpoint(folder, "qwen2_5_vl", TinyOptions(max_critique_tokens=24))
    return folder
