from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import Family, TinyOptions, build_tiny_checkpoint

Checkpoints = Callable[[Family, TinyOptions], Path]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Builds a tiny checkpoint, once per family and options."""
    built: dict[tuple[Family, TinyOptions], Path] = {}

    def build(family: Family, options: TinyOptions) -> Path:
        key = (family, options)
        if key not in built:
            built[key] = tmp_path_factory.mktemp(family)
            build_tiny_checkpoint(built[key], family, options)
        return built[key]

    return build
