"""Images and videos of a request: from whatever the caller holds to one data URI each.

A file or bytes are sent as they are; pixels (a PIL image, a numpy array) become PNG, because a
silent JPEG would move scores. Identical images of a request are uploaded once: each is known by
the SHA-256 of what is sent, and items refer to it by that key in the request's `media` table.

Neither PIL nor numpy is imported here: an object of theirs can only come from a caller who did.
No image is decoded here and no URL is fetched: the service checks what it gets.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput

# Fastest zlib level: the bytes travel once, the caller's step waits for the compression.
_PNG_LEVEL = 1
_PIL_MODES_OF_PNG = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_CONVERTED_PIL_MODES = frozenset({"CMYK", "YCbCr", "LAB", "HSV", "RGBX", "PA", "La", "RGBa"})
_PNG_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}

ImageLike = Any
"""A path (str or Path), bytes, a PIL image, a numpy array (H, W[, 1|3|4]) uint8, a data URI."""

VideoLike = Any
"""(frames, fps), or a mapping or object with `frames` and `fps`."""


class MediaTable:
    """The `media` table of one request under construction."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        # By identity: one picture object shared by many items is encoded once. The object is kept
        # beside its key, or its id could be given to another one while the table is built.
        self._seen: dict[int, tuple[ImageLike, str]] = {}

    def add(self, image: ImageLike, *, relative_to: Path | None = None) -> str:
        """The key under which `image` is uploaded."""
        seen = self._seen.get(id(image))
        if seen is not None:
            return seen[1]
        uri = data_uri(image, relative_to=relative_to)
        key = hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()
        self.entries[key] = uri
        self._seen[id(image)] = (image, key)
        return key

    def add_video(self, video: VideoLike, *, relative_to: Path | None = None) -> dict[str, Any]:
        """The wire form of a video: keys of its frames and their rate."""
        frames, fps = _frames_and_rate(video)
        if not isinstance(fps, int | float) or isinstance(fps, bool):
            raise InvalidInput(f"fps of a video is {type(fps).__name__}, expected a number")
        keys = [self.add(frame, relative_to=relative_to) for frame in frames]
        return {"frames": keys, "fps": float(fps)}


def identity_of(image: ImageLike) -> str:
    """SHA-256 of what the caller holds: copies of one picture share it, without being encoded.

    A path and the bytes of its file do not: nothing is read here.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        content = bytes(image)
    elif hasattr(image, "tobytes"):  # pixels: of PIL, or of numpy
        names = ("size", "shape", "dtype", "mode")
        header = [str(getattr(image, name, "")) for name in names]
        if header[-1] in ("P", "PA"):
            header.append(str(image.getpalette()))
        content = " ".join(header).encode("ascii") + image.tobytes()
    else:
        content = str(image).encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()


def data_uri(image: ImageLike, *, relative_to: Path | None = None) -> str:
    """One image as a data URI.

    Args:
        relative_to: folder that relative paths start from; the working directory if None.

    Raises:
        InvalidInput: no such file, a format that is not an image, pixels of the wrong shape.
    """
    if isinstance(image, str) and image.startswith("data:"):
        return image
    if isinstance(image, str | PathLike):
        return _from_bytes(_read(image, relative_to), name=str(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return _from_bytes(bytes(image), name="bytes")
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(image, numpy.ndarray):
        return _as_uri("image/png", _png_of_array(image))
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(image, pil.Image):
        return _as_uri("image/png", _png_of_pil(image))
    raise InvalidInput(
        f"cannot send {type(image).__name__} as an image: "
        "give a path, bytes, a PIL image, a numpy array or a data URI"
    )


def sniff(content: bytes) -> str | None:
    """MIME type of an image by its first bytes, None if it is none of those the service reads."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"BM"):
        return "image/bmp"
    if content.startswith((b"II*\x00", b"MM\x00*")):
        return "image/tiff"
    return None


def _read(path: str | PathLike[str], relative_to: Path | None) -> bytes:
    if isinstance(path, str) and path.startswith(("http://", "https://")):
        raise InvalidInput("the service fetches no remote image: download it and give the file")
    full = Path(path) if relative_to is None else relative_to / path
    try:
        return full.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"cannot read image {str(full)[:200]!r}: {reason}") from error


def _from_bytes(content: bytes, *, name: str) -> str:
    mime_type = sniff(content)
    if mime_type is None:
        raise InvalidInput(
            f"{name}: not an image (PNG, JPEG, WebP, GIF, BMP or TIFF by its first bytes)"
        )
    return _as_uri(mime_type, content)


def _as_uri(mime_type: str, content: bytes) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode('ascii')}"


def _png_of_pil(image: Any) -> bytes:
    if image.mode in _CONVERTED_PIL_MODES:
        # PNG has no such colours; the service would make the same conversion on decoding.
        image = image.convert("RGBA" if image.mode in {"PA", "RGBa"} else "RGB")
    if image.mode not in _PIL_MODES_OF_PNG:
        raise InvalidInput(f"a PIL image of mode {image.mode} has no faithful PNG: convert it")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def _png_of_array(array: Any) -> bytes:
    """PNG by hand, so that arrays need no imaging library: filter 0 before each row, one zlib."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in _PNG_COLOUR_TYPES or 0 in array.shape:
        raise InvalidInput(f"an array of shape {array.shape} is no image, expected (H, W, 1|3|4)")
    if str(array.dtype) != "uint8":
        raise InvalidInput(f"an array image must be uint8, got {array.dtype}: scale it yourself")
    height, width, channels = array.shape
    flat = array.tobytes()
    stride = width * channels
    rows = b"".join(b"\x00" + flat[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, _PNG_LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _frames_and_rate(video: VideoLike) -> tuple[Sequence[ImageLike], Any]:
    if isinstance(video, Mapping):
        if set(video) != {"frames", "fps"}:
            raise InvalidInput("a video has exactly the fields frames and fps")
        frames, fps = video["frames"], video["fps"]
    elif isinstance(video, tuple | list) and len(video) == 2:
        frames, fps = video
    elif hasattr(video, "frames") and hasattr(video, "fps"):
        frames, fps = video.frames, video.fps
    else:
        raise InvalidInput("a video is (frames, fps)")
    if isinstance(frames, str | bytes | PathLike):
        raise InvalidInput("frames of a video must be a list of images")
    return list(frames), fps
