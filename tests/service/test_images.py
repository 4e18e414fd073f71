"""From data URI to RGB: what is accepted, what it becomes, and what is refused before decoding."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.errors import ImageUnusable
from mmreward_service.images import ImageLimits, decode, read_payload
from PIL import Image
from service_kit import encode, picture, picture_bytes, picture_uri

LIMITS = ImageLimits(max_bytes=100_000, max_pixels=10_000)


def load(uri: str, limits: ImageLimits = LIMITS) -> Image.Image:
    return decode(read_payload(uri, limits))


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "WEBP", "JPEG"])
def test_known_formats_become_rgb(format: str) -> None:
    """Every format on the list is decoded, whatever media type the URI claims."""
    image = load(encode(picture_bytes(format=format), "application/octet-stream"))
    assert (image.mode, image.size) == ("RGB", (28, 28))


def test_a_lossless_picture_keeps_its_pixels() -> None:
    """What a PNG holds is what the engine gets, bit by bit."""
    assert load(picture_uri()).tobytes() == picture().tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_every_mode_of_eight_bits_becomes_rgb(mode: str) -> None:
    """Palettes, greyscale, bilevel, transparency and print colours all arrive as RGB."""
    format = "JPEG" if mode == "CMYK" else "PNG"
    assert load(encode(picture_bytes(picture(mode=mode), format))).mode == "RGB"


def test_transparency_is_laid_over_white() -> None:
    """A transparent pixel is white, a half transparent black one is grey."""
    image = Image.new("RGBA", (2, 1))
    image.putpixel((0, 0), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    white, grey = load(encode(picture_bytes(image))).get_flattened_data()
    assert white == (255, 255, 255)
    assert grey == (127, 127, 127)


def test_orientation_is_left_alone() -> None:
    """EXIF orientation is not applied: the loaders that models are trained with do not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    uri = encode(picture_bytes(picture((20, 10)), "JPEG", exif=exif))
    assert load(uri).size == (20, 10)


def test_a_phone_picture_with_a_second_frame_is_its_first() -> None:
    """An MPO file is a JPEG with more behind it: the first picture counts."""
    buffer = io.BytesIO()
    picture().save(buffer, "MPO", save_all=True, append_images=[picture(shade=9)])
    assert load(encode(buffer.getvalue())).size == (28, 28)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_animations_are_refused(format: str) -> None:
    """Which frame counts is the caller's business, not ours."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (i * 80, 0, 0)) for i in range(3)]
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(ImageUnusable, match="animation"):
        load(encode(buffer.getvalue()))


def test_deep_greyscale_is_refused() -> None:
    """Pillow would clip 16 bits to white and say nothing."""
    deep = Image.frombytes("I;16", (4, 4), struct.pack("<16H", *range(0, 64000, 4000)))
    with pytest.raises(ImageUnusable, match="8 bits"):
        load(encode(picture_bytes(deep)))


@pytest.mark.parametrize(
    "uri",
    [
        "data:",
        "data:image/png;base64,",
        "data:image/png,abcd",
        "data:image/png;base64,abc",
        "data:image/png;base64,ab cd",
        "data:image/png;base64,ab_d",
        "data:image/png;base64,abcd====",
        "data:image/png;base64,ab\u00e9d",
        encode(b"hello, I am not a picture"),
        encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        encode(b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        "data:" + "a" * 200_000,
        "data:" + ";a=b" * 50_000 + ";base64,",
    ],
)
def test_what_is_no_picture_is_refused(uri: str) -> None:
    """Not base64, not a picture, or not a format on the list: a sentence, not an exception."""
    with pytest.raises(ImageUnusable):
        load(uri)


def test_files_are_never_opened() -> None:
    """There is no way to name a path or an address: only data URIs are read."""
    for reference in ("file:///etc/passwd", "/etc/passwd", "http://127.0.0.1/", "data:../../etc"):
        with pytest.raises(ImageUnusable, match="data URI"):
            load(reference)


def test_size_limits_hold_before_decoding() -> None:
    """Bytes are known from the text, pixels from the header: a bomb is not unpacked to see it."""
    with pytest.raises(ImageUnusable, match="max_image_bytes is 50"):
        read_payload(picture_uri(), ImageLimits(50, 10_000))
    with pytest.raises(ImageUnusable, match="max_image_pixels is 100"):
        read_payload(picture_uri(), ImageLimits(100_000, 100))
    with pytest.raises(ImageUnusable, match=r"60000 x 60000 pixels|cannot be decoded"):
        read_payload(encode(_png_header(60_000, 60_000)), LIMITS)


def test_a_picture_exactly_at_the_limits_is_served() -> None:
    """A limit of n allows n."""
    data = picture_bytes()
    assert load(encode(data), ImageLimits(len(data), 28 * 28)).size == (28, 28)
    with pytest.raises(ImageUnusable, match="max_image_bytes"):
        load(encode(data), ImageLimits(len(data) - 1, 28 * 28))


@given(st.integers(0, 2**16), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]))
def test_a_cut_file_is_refused_or_whole(cut: int, format: str) -> None:
    """A file that ends early is an image error; never half a picture, never another exception."""
    data = picture_bytes(picture((40, 30)), format)
    cut %= len(data)
    try:
        image = load(encode(data[:cut]))
    except ImageUnusable:
        return
    # Some formats end in bytes that carry no picture; then all of it must be there.
    assert image.tobytes() == load(encode(data)).tobytes()


@given(st.binary(min_size=1, max_size=12), st.integers(0, 2**16))
def test_a_damaged_file_never_raises_anything_else(noise: bytes, at: int) -> None:
    """Whatever bytes a caller sends, the answer is a picture or ImageUnusable."""
    data = bytearray(picture_bytes())
    at %= len(data)
    data[at : at + len(noise)] = noise
    with contextlib.suppress(ImageUnusable):
        assert load(encode(bytes(data))).mode == "RGB"


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    """No text after the head of a data URI escapes the error tree."""
    with pytest.raises(ImageUnusable):
        load("data:image/png;base64," + text)


def test_the_same_bytes_have_the_same_name() -> None:
    """The hash is of the content: the head of the URI does not count."""
    data = picture_bytes()
    a = read_payload(encode(data, "image/png"), LIMITS)
    b = read_payload("DATA:image/jpeg;charset=x;base64," + base64.b64encode(data).decode(), LIMITS)
    assert a.sha256 == b.sha256


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    fields = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    data = zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
