"""The pictures of one request: references, sharing, and the pixel budget."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.schema import Video
from mmreward_service import media as media_module
from mmreward_service.engine.protocol import Media
from mmreward_service.errors import ImageUnusable, InvalidItem
from mmreward_service.images import ImageLimits, Payload, decode
from mmreward_service.media import Decoder, Pictures
from mmreward_service.pixels import PixelBudget
from mmreward_service.timings import Stopwatch
from service_kit import picture_uri

BIG = (400, 300)


@pytest.fixture
def decoder() -> Any:
    decoder = Decoder(ImageLimits(10_000_000, 10_000_000), 2, 100_000_000)
    yield decoder
    decoder.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the contents that were decoded, in order."""
    names: list[str] = []

    def counting(payload: Payload) -> Any:
        names.append(payload.sha256)
        return decode(payload)

    monkeypatch.setattr(media_module, "decode", counting)
    return names


async def load(pictures: Pictures, images: list[str], video: Video | None = None) -> Media:
    return await pictures.media(await pictures.payloads(images, video), video)


@pytest.mark.parametrize("size", [(28, 28), BIG])
async def test_a_content_is_decoded_once_however_it_is_named(
    decoder: Decoder, decoded: list[str], size: tuple[int, int]
) -> None:
    """By two keys, inline, and inline with another head: one decoding, one picture."""
    uri = picture_uri(size)
    other_head = uri.replace("image/png", "image/jpeg")
    references = ["a", "b", uri, other_head]
    async with Pictures({"a": uri, "b": other_head}, decoder, Stopwatch()) as pictures:
        loaded = await asyncio.gather(*(load(pictures, [one]) for one in references))
    assert len(decoded) == 1
    assert len({id(media.images[0]) for media in loaded}) == 1


async def test_pictures_keep_the_order_of_their_references(decoder: Decoder) -> None:
    """Big ones are decoded in threads and small ones are not; the order is the caller's."""
    uris = [picture_uri(BIG, 1), picture_uri((8, 8), 2), picture_uri(BIG, 3)]
    async with Pictures({}, decoder, Stopwatch()) as pictures:
        media = await load(pictures, uris)
    assert [image.size for image in media.images] == [BIG, (8, 8), BIG]
    assert len(set(media.hashes)) == 3


async def test_a_picture_nobody_names_is_not_decoded(decoder: Decoder, decoded: list[str]) -> None:
    """An entry of the media table costs nothing until an item refers to it."""
    async with Pictures({"a": picture_uri(), "b": "rubbish"}, decoder, Stopwatch()) as pictures:
        await load(pictures, ["a"])
    assert len(decoded) == 1


async def test_a_decoded_picture_dies_with_its_last_item(decoder: Decoder) -> None:
    """The request holds the bytes, only items hold pixels: that is what the budget counts on."""
    async with Pictures({}, decoder, Stopwatch()) as pictures:
        media = await load(pictures, [picture_uri()])
        assert len(pictures._decoded) == 1
        del media
        await asyncio.sleep(0)  # the loop still holds the finished task's callbacks
        gc.collect()
        assert len(pictures._decoded) == 0


async def test_a_video_is_its_frames_and_their_rate(decoder: Decoder) -> None:
    """Frames may be keys, too, and keep their order."""
    video = Video(frames=["f", picture_uri(shade=2)], fps=2.0)
    async with Pictures({"f": picture_uri(shade=1)}, decoder, Stopwatch()) as pictures:
        media = await load(pictures, [], video)
    assert media.is_video
    assert media.fps == 2.0
    assert len(media.images) == 2


async def test_frames_of_different_sizes_are_refused(decoder: Decoder) -> None:
    """A video has one size."""
    video = Video(frames=[picture_uri((8, 8)), picture_uri((8, 9))], fps=1.0)
    async with Pictures({}, decoder, Stopwatch()) as pictures:
        with pytest.raises(ImageUnusable, match="differ in size"):
            await load(pictures, [], video)


@given(
    reference=st.one_of(
        st.text(max_size=40),
        st.sampled_from(["http://x/y.png", "file:///etc/passwd", "/etc/passwd", "../a", "C:\\a"]),
    ),
    table=st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=20), max_size=3),
)
async def test_no_reference_is_ever_followed(reference: str, table: dict[str, str]) -> None:
    """Whatever text a reference is, it is a key, a data URI, or the item's own error."""
    decoder = Decoder(ImageLimits(1000, 1000), 1, 1000)
    async with Pictures(table, decoder, Stopwatch()) as pictures:
        with pytest.raises((InvalidItem, ImageUnusable), match=r"^images\[0\]: "):
            await load(pictures, [reference])
    decoder.close()


async def test_one_that_gives_up_does_not_take_the_picture_from_the_others(
    decoder: Decoder,
) -> None:
    """Cancelling an item that waits for a shared picture leaves the picture to the rest."""
    uri = picture_uri(BIG)
    async with Pictures({}, decoder, Stopwatch()) as pictures:
        first = asyncio.create_task(load(pictures, [uri]))
        second = asyncio.create_task(load(pictures, [uri]))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).images[0].size == BIG


async def test_the_budget_is_first_come_first_served_and_never_exceeded() -> None:
    """A small item does not overtake a big one that waits, and nobody exceeds the limit."""
    budget = PixelBudget(10)
    order: list[str] = []

    async def item(name: str, pixels: int) -> None:
        async with budget.hold(pixels):
            assert budget.held <= 10
            order.append(name)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for name, pixels in (("a", 6), ("b", 10), ("c", 4), ("text", 0)):
            group.create_task(item(name, pixels))
    assert order == ["a", "text", "b", "c"]
    assert budget.held == 0


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), max_size=12))
async def test_the_budget_is_given_back_whatever_is_cancelled(
    items: list[tuple[int, bool]],
) -> None:
    """Cancelled while waiting, while holding, or in the instant between: nothing is lost."""
    budget = PixelBudget(10)

    async def item(pixels: int) -> None:
        async with budget.hold(pixels):
            assert budget.held <= 10
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(item(pixels)) for pixels, _ in items]
    for task, (_, cancelled) in zip(tasks, items, strict=True):
        await asyncio.sleep(0)
        if cancelled:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert budget.held == 0
    assert not budget._line
