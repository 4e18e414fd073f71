"""Small pictures and their data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image


def picture(size: tuple[int, int] = (28, 28), shade: int = 90, mode: str = "RGB") -> Image.Image:
    """A horizontal ramp that starts at `shade`."""
    ramp = Image.frombytes("L", (256, 1), bytes((shade + x) % 256 for x in range(256)))
    return ramp.resize(size).convert(mode)


def picture_bytes(image: Image.Image | None = None, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, format, **options)
    return buffer.getvalue()


def encode(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture_uri(size: tuple[int, int] = (28, 28), shade: int = 90) -> str:
    return encode(picture_bytes(picture(size, shade)))
