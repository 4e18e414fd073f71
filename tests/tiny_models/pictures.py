"""Pictures and frames made of arithmetic: no files, the same in every run."""

from __future__ import annotations

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 56, height: int = 56) -> Image.Image:
    """An image of uniform noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def gradient(red: int = 0, width: int = 56, height: int = 56) -> Image.Image:
    """Green grows to the right, blue downwards; `red` tells images apart."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = red
    pixels[..., 1] = np.linspace(0, 255, width, dtype=np.uint8)[None, :]
    pixels[..., 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    return Image.fromarray(pixels)


def video_frames(count: int = 4, seed: int = 0) -> tuple[Image.Image, ...]:
    """A short clip in which every frame differs."""
    return tuple(noise(seed * 1000 + i) for i in range(count))
