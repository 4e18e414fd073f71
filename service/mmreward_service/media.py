"""The pictures of one request: references resolved, each content decoded once, memory bounded.

Many items may name the same picture, by a key of the request's media table or by sending it again.
Contents are told apart by their sha256. A decoded picture lives as long as an item holds it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar
from weakref import WeakValueDictionary

from mmreward_client.schema import Video
from PIL import Image
from prometheus_client import CollectorRegistry

from mmreward_service.engine.protocol import Media
from mmreward_service.errors import ImageUnusable, InvalidItem
from mmreward_service.images import ImageLimits, Payload, decode, is_data_uri, read_payload
from mmreward_service.metrics.pictures import PictureMetrics
from mmreward_service.pixels import PixelBudget
from mmreward_service.timings import Stopwatch

T = TypeVar("T")

_INLINE_CHARACTERS = 16_384
_INLINE_PIXELS = 65_536
"""Below these a picture takes a fraction of a millisecond: less than the way to a thread."""


class Decoder:
    """What all requests share: the worker threads, the limits and the pixel budget."""

    def __init__(
        self,
        limits: ImageLimits,
        threads: int,
        max_pixels_in_flight: int,
        metrics: PictureMetrics | None = None,
    ) -> None:
        self.limits = limits
        # Outside of a service nobody reads them.
        self.metrics = metrics or PictureMetrics(CollectorRegistry())
        self.budget = PixelBudget(max_pixels_in_flight)
        # An own pool: its size bounds the decoding even when callers hang up half way.
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def in_thread(self, stopwatch: Stopwatch, work: Callable[[], T]) -> T:
        submitted = time.monotonic()

        def run() -> T:
            stopwatch.add("queue", time.monotonic() - submitted)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Pictures:
    """The pictures of one request; close it (`async with`) to stop decoding what nobody awaits."""

    def __init__(self, table: Mapping[str, str], decoder: Decoder, stopwatch: Stopwatch) -> None:
        self._table = table
        self._decoder = decoder
        self._stopwatch = stopwatch
        self._payloads: dict[str, asyncio.Task[Payload]] = {}
        self._decoding: dict[str, asyncio.Task[Image.Image]] = {}
        self._decoded: WeakValueDictionary[str, Image.Image] = WeakValueDictionary()

    async def __aenter__(self) -> Pictures:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in (*self._payloads.values(), *self._decoding.values()):
            task.cancel()

    async def payloads(self, images: list[str], video: Video | None) -> list[Payload]:
        """Bytes and headers of an item's pictures, in order."""
        name, references = ("images", images) if video is None else ("video.frames", video.frames)
        uris = [self._resolve(reference, f"{name}[{i}]") for i, reference in enumerate(references)]
        payloads = []
        for i, uri in enumerate(uris):
            if uri not in self._payloads:
                self._payloads[uri] = asyncio.ensure_future(self._read(uri))
            payloads.append(await _shared(self._payloads[uri], f"{name}[{i}]"))
        if video is not None and len({(p.width, p.height) for p in payloads}) > 1:
            raise ImageUnusable("the frames of the video differ in size")
        return payloads

    async def media(self, payloads: list[Payload], video: Video | None) -> Media:
        """The decoded pictures. The caller holds their pixels from the budget."""
        name = "images" if video is None else "video.frames"
        images = [
            await self._picture(payload, f"{name}[{i}]") for i, payload in enumerate(payloads)
        ]
        hashes = tuple(payload.sha256 for payload in payloads)
        return Media(tuple(images), hashes, None if video is None else video.fps)

    def _resolve(self, reference: str, where: str) -> str:
        if is_data_uri(reference):
            return reference
        if reference not in self._table:
            raise InvalidItem(f"{where}: neither a data URI nor a key of media")
        uri = self._table[reference]
        if not is_data_uri(uri):
            raise InvalidItem(f"{where}: its entry in media is not a data URI")
        return uri

    async def _picture(self, payload: Payload, where: str) -> Image.Image:
        key = payload.sha256
        ready = self._decoded.get(key)
        if ready is not None:
            self._decoder.metrics.shared()
            return ready
        if key in self._decoding:
            picture = await _shared(self._decoding[key], where)
            self._decoder.metrics.shared()
            return picture
        self._decoding[key] = asyncio.ensure_future(self._decode(payload))
        return await _shared(self._decoding[key], where)

    async def _read(self, uri: str) -> Payload:
        if len(uri) <= _INLINE_CHARACTERS:
            return read_payload(uri, self._decoder.limits)
        return await self._decoder.in_thread(
            self._stopwatch, lambda: read_payload(uri, self._decoder.limits)
        )

    async def _decode(self, payload: Payload) -> Image.Image:
        try:
            if payload.pixels <= _INLINE_PIXELS:
                picture = decode(payload)
            else:
                picture = await self._decoder.in_thread(self._stopwatch, lambda: decode(payload))
            self._decoded[payload.sha256] = picture
            self._decoder.metrics.decoded(len(payload.data), payload.pixels)
            return picture
        finally:
            # From here on only the items that use the picture keep it alive.
            del self._decoding[payload.sha256]


async def _shared(task: asyncio.Task[T], where: str) -> T:
    """Await work that other items may wait for too: giving up here must not cancel it for them."""
    try:
        return await asyncio.shield(task)
    except ImageUnusable as error:
        raise ImageUnusable(f"{where}: {error}") from error
