"""The most patches that one picture can become: the bound on what the vision encoder computes."""

from __future__ import annotations

import json
from typing import Any

from mmreward_service.check.folder import Folder

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
