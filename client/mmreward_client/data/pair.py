"""One preference pair as the readers of this package give it, whatever file it came from.

A pair names its pictures and does not hold them: a file is opened when its bytes are asked for, so
that a data set larger than memory can pass through. No image is decoded here and no URL fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput
from mmreward_client.images import data_uri


@dataclass(frozen=True)
class Where:
    """The place of a row: its file, and its line or row number counted from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class ImageSource:
    """One image: a file on disk, or bytes that came inside the row. Exactly one of them is set.

    Raises:
        InvalidInput: neither or both are given.
    """

    path: Path | None = None
    content: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.path is None) == (self.content is None):
            raise InvalidInput("an image is either a path or bytes")

    def read(self) -> bytes:
        """The encoded image, as it is on disk or in the row.

        Raises:
            InvalidInput: the file cannot be read.
        """
        if self.content is not None:
            return self.content
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"cannot read image {str(self.path)!r}: {error.strerror}") from error

    def data_uri(self) -> str:
        """What the client and the service take.

        Raises:
            InvalidInput: the file cannot be read, or its first bytes are those of no image.
        """
        return data_uri(self.content if self.content is not None else self.path)

    def identity(self) -> str:
        """SHA-256 of the encoded bytes: the same picture under two names is the same picture."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True)
class VideoSource:
    """Sampled frames in the order of time, and how many of them stand for one second."""

    frames: tuple[ImageSource, ...]
    fps: float

    def wire(self) -> dict[str, Any]:
        """The `video` of an item: `{"frames": [data URIs], "fps": rate}`.

        Raises:
            InvalidInput: a frame cannot be read or is no image.
        """
        return {"frames": [frame.data_uri() for frame in self.frames], "fps": self.fps}


@dataclass(frozen=True)
class PreferencePair:
    """Two answers to one question about images or a video, the first of them preferred.

    Attributes:
        id: the id of the data set; several pairs of one question may share it (ACC+ counts that).
        chosen_reason: why an annotator liked it; None where the data set says nothing.
        is_tie: neither answer is better; `chosen` and `rejected` are then only names.
        category: the group under which a benchmark counts the pair, None outside of benchmarks.
        where: file and line, for messages.
        extra: columns of the row that no reader interprets, and what a reader derived.
    """

    id: str
    prompt: str
    chosen: str
    rejected: str
    images: tuple[ImageSource, ...]
    video: VideoSource | None
    chosen_reason: str | None
    rejected_reason: str | None
    is_tie: bool
    category: str | None
    where: Where
    extra: Mapping[str, Any]

    def fingerprint(self, identity: Callable[[ImageSource], str] = ImageSource.identity) -> str:
        """SHA-256 that tells whether two rows are the same comparison, for overlap and provenance.

        Covered: prompt, chosen, rejected, the label (`is_tie`), the bytes of every image in order,
        or the bytes of every frame and the rate. Not covered: id, place, category, extra columns
        and the reasons. So a row that was moved, renamed or given a longer critique is still found
        again; a row with its answers exchanged is another label and has another fingerprint.
        Each part is preceded by its length in bytes (8, big-endian): no two rows run together.

        Args:
            identity: SHA-256 of an image's bytes, where a caller has kept it.

        Raises:
            InvalidInput: a picture cannot be read.
        """
        return sha256_of_parts(
            [
                "tie" if self.is_tie else "pair",
                self.prompt,
                self.chosen,
                self.rejected,
                *media_parts(self, identity),
            ]
        )


def media_parts(
    pair: PreferencePair, identity: Callable[[ImageSource], str] = ImageSource.identity
) -> list[str]:
    """The media of a pair as parts of a fingerprint: bytes of images, or of frames and their rate.

    Raises:
        InvalidInput: a picture cannot be read.
    """
    parts = [f"image {identity(image)}" for image in pair.images]
    if pair.video is not None:
        parts.append(f"video {pair.video.fps!r}")
        parts += [f"frame {identity(frame)}" for frame in pair.video.frames]
    return parts


def sha256_of_parts(parts: Iterable[str]) -> str:
    """SHA-256 of texts, each behind its length, so that no two lists of them run together."""
    digest = hashlib.sha256()
    for part in parts:
        # A lone surrogate can come out of JSON; a fingerprint must not fail over it.
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
