"""Tiny random reward checkpoints of the four model families, built in a second for tests."""

from tiny_models.build import (
    FAMILIES,
    Family,
    TinyOptions,
    build_tiny_checkpoint,
    build_tiny_stock,
)
from tiny_models.pictures import gradient, noise, video_frames

__all__ = [
    "FAMILIES",
    "Family",
    "TinyOptions",
    "build_tiny_checkpoint",
    "build_tiny_stock",
    "gradient",
    "noise",
    "video_frames",
]
