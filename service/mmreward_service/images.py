"""From a data URI to an RGB picture, checked from its header before a pixel is decoded.

No remote URL and no path is ever opened. What is done to a picture is what training loaders do to
it, and no more:

- transparency is laid over white;
- the EXIF orientation is not applied;
- the first picture of a multi-picture JPEG (MPO, written by phones) is taken; animations are
  refused, and so are 16- and 32-bit greyscale, which Pillow would clip to white without a word.

The media type a data URI claims is ignored: the bytes decide.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import re
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from mmreward_service.errors import ImageUnusable, boundary

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=[\w.+-]*)*;base64,", re.IGNORECASE)
_MAX_HEAD = 128
_DEEP_MODES = ("I", "F")


@dataclass(frozen=True)
class ImageLimits:
    max_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class Payload:
    """The bytes of one picture, its content's name, and the size its header claims."""

    data: bytes
    sha256: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def is_data_uri(reference: str) -> bool:
    return reference[:5].lower() == "data:"


def read_payload(uri: str, limits: ImageLimits) -> Payload:
    """Bytes and header of a data URI.

    Raises:
        ImageUnusable: not base64, not a picture of a known format, or over a limit.
    """
    head = _DATA_URI.match(uri[:_MAX_HEAD])
    if head is None:
        raise ImageUnusable("not a data URI with base64 content")
    # Base64 holds 3 bytes in 4 characters: the size is known before anything is decoded.
    size = (len(uri) - head.end()) * 3 // 4
    if size > limits.max_bytes + 2:
        raise ImageUnusable(f"{size} bytes, max_image_bytes is {limits.max_bytes}")
    try:
        data = binascii.a2b_base64(uri[head.end() :], strict_mode=True)
    except ValueError as error:
        raise ImageUnusable(f"not strict base64: {_short(error)}") from error
    return check_payload(data, limits)


def check_payload(data: bytes, limits: ImageLimits) -> Payload:
    """Size and header of an encoded picture.

    Raises:
        ImageUnusable: not a picture of a known format, or over a limit.
    """
    if len(data) > limits.max_bytes:
        raise ImageUnusable(f"{len(data)} bytes, max_image_bytes is {limits.max_bytes}")
    with _open(data) as picture:
        width, height = picture.size
        if width * height > limits.max_pixels:
            raise ImageUnusable(
                f"{width} x {height} pixels, max_image_pixels is {limits.max_pixels}"
            )
        if picture.mode.split(";")[0] in _DEEP_MODES:
            raise ImageUnusable(f"greyscale of more than 8 bits (mode {picture.mode})")
        with boundary(_unreadable):
            if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
                raise ImageUnusable("an animation, expected one picture")
    return Payload(data, hashlib.sha256(data).hexdigest(), width, height)


def decode(payload: Payload) -> Image.Image:
    """The RGB picture. Raises ImageUnusable where the content is not what the header promised."""
    with _open(payload.data) as picture, boundary(_unreadable):
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
            return Image.alpha_composite(white, picture).convert("RGB")
        return picture.convert("RGB")


def _open(data: bytes) -> Image.Image:
    """Pillow reads the header here and the pixels on the first use."""
    with boundary(_unreadable):
        return Image.open(io.BytesIO(data), formats=FORMATS)


def _unreadable(error: Exception) -> ImageUnusable:
    if isinstance(error, UnidentifiedImageError):
        return ImageUnusable(f"not a picture in a known format ({', '.join(FORMATS)})")
    return ImageUnusable(f"cannot be decoded: {_short(error)}")


def _short(error: Exception) -> str:
    """A codec's message, cut: some of them quote what they read."""
    return str(error)[:80] or type(error).__name__
