"""The pictures of items: how many, how large, and how often one was shared."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_BYTES = tuple(1 << exponent for exponent in range(9, 26, 2))
"""512 bytes to 32 MiB, each four times the one before."""
_PIXELS = tuple(1 << exponent for exponent in range(8, 27, 2))
"""16 × 16 to 8192 × 8192 pixels, each twice as wide and high as the one before."""


class PictureMetrics:
    """Told of each picture that an item gets; those that were refused are `image_error` items."""

    def __init__(self, registry: CollectorRegistry) -> None:
        images = Counter(
            "mmreward_images",
            "Pictures of items: decoded, or shared with another item of the request.",
            ["source"],
            registry=registry,
        )
        self._new, self._shared = images.labels("new"), images.labels("shared")
        self._bytes = Histogram(
            "mmreward_image_bytes",
            "Encoded size of decoded pictures.",
            buckets=_BYTES,
            registry=registry,
        )
        self._pixels = Histogram(
            "mmreward_image_pixels",
            "Width times height of decoded pictures.",
            buckets=_PIXELS,
            registry=registry,
        )

    def decoded(self, size_bytes: int, pixels: int) -> None:
        self._new.inc()
        self._bytes.observe(size_bytes)
        self._pixels.observe(pixels)

    def shared(self) -> None:
        self._shared.inc()
