"""The most patches that one picture can become: the bound on what the vision encoder computes."""

from __future__ import annotations

import json
from typing import Any

from mmreward_service.check.folder import Folder

VLLM_LIMIT = "anyres_max_9"
_SHRINKING_STARTS_AT = 1.1**2
"""Grids up to 1.1 times the limit in either direction are left as they are."""

_FILES = ("processor_config.json", "preprocessor_config.json")


def most_patches(folder: Folder) -> int | None:
    """Patches of the largest picture, or None where the folder does not tell.

    The Qwen families scale a picture down to a number of pixels; LLaVA-OneVision cuts it into tiles
    of one size, as many as the largest of its pinpoints holds, and adds one of the whole.
    """
    patch = folder.vision_setting("patch_size")
    if not isinstance(patch, int):
        return None
    settings = _image_settings(folder)
    pinpoints = settings.get("image_grid_pinpoints") or (folder.config or {}).get(
        "image_grid_pinpoints"
    )
    tile = folder.vision_setting("image_size")
    if isinstance(pinpoints, list) and isinstance(tile, int):
        tiles = max(int(height) * int(width) for height, width in pinpoints) // tile**2 + 1
        return int(tiles * (tile // patch) ** 2)
    size = settings.get("size")
    pixels = size.get("longest_edge") if isinstance(size, dict) else None
    pixels = pixels or settings.get("max_pixels")
    return int(pixels) // patch**2 if isinstance(pixels, int) else None


def ignored_limit(folder: Folder) -> str | None:
    """A sentence if vLLM would shrink large pictures of LLaVA-OneVision to another size than the
    model was trained with, else None.

    The folder's `vision_aspect_ratio` says `anyres_max_N`: grids of more than N tiles are shrunk to
    N. vLLM (0.32) shrinks to 9 and does not read the setting, so N must be 9, or every grid
    so small that neither of the two limits is reached.
    """
    config = folder.config or {}
    ratio, grids = config.get("vision_aspect_ratio"), config.get("image_grid_pinpoints")
    tile = folder.vision_setting("image_size")
    if ratio in (None, VLLM_LIMIT) or not isinstance(grids, list) or not isinstance(tile, int):
        return None
    tiles = max(int(height) * int(width) for height, width in grids) / tile**2
    limit = str(ratio).removeprefix("anyres_max_")
    smallest = min(9, int(limit)) if limit.isdigit() else 0
    if tiles <= smallest * _SHRINKING_STARTS_AT:
        return None
    return (
        f"vision_aspect_ratio is {ratio!r} and vLLM computes {VLLM_LIMIT!r}, whatever it says: "
        f"pictures of more than {smallest} tiles would get other scores"
    )


def _image_settings(folder: Folder) -> dict[str, Any]:
    for name in _FILES:
        file = folder.path / name
        if not file.is_file():
            continue
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue
        nested = settings.get("image_processor") if isinstance(settings, dict) else None
        if isinstance(nested, dict):
            return nested
        if isinstance(settings, dict) and ("size" in settings or "max_pixels" in settings):
            return settings
    return {}
