"""Pictures on their way to the wire: bytes untouched, pixels exact, identical ones once."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import InvalidInput, Video
from mmreward_client.images import MediaTable, data_uri, identity_of, sniff
from PIL import Image

FORMATS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}


def picture(size=(5, 4), colour=(200, 10, 30)):
    return Image.new("RGB", size, colour)


def encoded(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def decoded(uri):
    head, _, body = uri.partition(";base64,")
    assert head.startswith("data:image/")
    return base64.b64decode(body, validate=True)


def pixels(uri):
    with Image.open(io.BytesIO(decoded(uri))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize(("kind", "mime_type"), FORMATS.items())
def test_files_and_bytes_are_sent_as_they_are(tmp_path, kind, mime_type):
    """Not one byte of an encoded image changes, and its type is told by its first bytes."""
    content = encoded(picture(), kind)
    path = tmp_path / "misnamed.txt"
    path.write_bytes(content)
    for image in (content, bytearray(content), memoryview(content), path, str(path)):
        uri = data_uri(image)
        assert uri.startswith(f"data:{mime_type};base64,")
        assert decoded(uri) == content


def test_data_uri_passes_untouched():
    """A data URI is the caller's word; the service judges it."""
    for uri in ("data:image/png;base64,AAAA", "data:nonsense"):
        assert data_uri(uri) == uri


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pil_pixels_are_exact(mode):
    """A PIL image arrives with the pixels it has: PNG, never JPEG."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.arange(63, dtype=np.uint16).reshape(9, 7))
    else:
        image = noise.convert(mode)
    assert image.mode == mode
    np.testing.assert_array_equal(pixels(data_uri(image)), np.asarray(image))


def test_pil_colours_without_a_png():
    """CMYK is converted as the service would do; floats have no faithful PNG and are refused."""
    image = picture().convert("CMYK")
    np.testing.assert_array_equal(pixels(data_uri(image)), np.asarray(image.convert("RGB")))
    with pytest.raises(InvalidInput, match="mode F"):
        data_uri(picture().convert("F"))


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([None, 1, 3, 4]), st.integers(0, 99))
def test_array_pixels_are_exact(height, width, channels, seed):
    """An array comes out of a PNG reader as it went in, also where its memory is not in order."""
    shape = (height, width) if channels is None else (height, width, channels)
    array = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    expected = array[:, :, 0] if channels == 1 else array
    np.testing.assert_array_equal(pixels(data_uri(array)), expected)
    np.testing.assert_array_equal(pixels(data_uri(array[::-1])), expected[::-1])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_that_are_no_pictures(array):
    """Floats, channels first, batches and empty arrays are refused rather than guessed."""
    with pytest.raises(InvalidInput):
        data_uri(array)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "not an image"),
        (b"%PDF-1.7", "not an image"),
        (b"RIFF____WAVE", "not an image"),
        ("https://example.org/cat.png", "fetches no remote image"),
        ("/no/such/file.png", "No such file"),
        ("/", "Is a directory"),
        ("nul\0.png", "null"),
        (3, "cannot send int"),
        (None, "cannot send NoneType"),
    ],
)
def test_what_is_no_image(image, message):
    """Each gets a sentence of its own."""
    with pytest.raises(InvalidInput, match=message):
        data_uri(image)


def test_text_file_is_no_image(tmp_path):
    """The message names the file."""
    path = tmp_path / "cat.png"
    path.write_text("<svg/>")
    with pytest.raises(InvalidInput, match=r"cat\.png: not an image"):
        data_uri(path)


def test_identical_images_are_uploaded_once(tmp_path):
    """By content, whatever form they come in; different ones get different keys."""
    content = encoded(picture(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(content)
    media = MediaTable()
    same = {media.add(path), media.add(content), media.add(str(path)), media.add(data_uri(path))}
    other = media.add(picture((5, 5)))
    assert len(same) == 1
    assert set(media.entries) == same | {other}
    assert all(len(key) == 64 for key in media.entries)


def test_video_forms():
    """(frames, fps), a mapping and an object are the same video."""
    frames = [picture((4, 4), (shade, 0, 0)) for shade in (0, 100, 0)]
    uris = [data_uri(frame) for frame in frames]
    media = MediaTable()
    forms = [
        media.add_video((frames, 2)),
        media.add_video({"frames": uris, "fps": 2.0}),
        media.add_video(Video(frames=uris, fps=2.0)),
    ]
    assert forms[0] == forms[1] == forms[2]
    assert forms[0]["frames"][0] == forms[0]["frames"][2] != forms[0]["frames"][1]
    assert len(media.entries) == 2


@pytest.mark.parametrize("video", ["a.mp4", 3, (["a.png"], "fast"), {"frames": []}, ("a.mp4", 2)])
def test_what_is_no_video(video):
    """Refused with a sentence, before anything is sent."""
    with pytest.raises(InvalidInput):
        MediaTable().add_video(video)


@given(st.binary(max_size=64))
def test_sniffing_never_fails(content):
    """Any bytes have a type or none."""
    assert sniff(content) is None or sniff(content) in FORMATS.values()


def test_copies_share_an_identity_and_nothing_else_does():
    """Large arrays, whose repr leaves the middle out; equal bytes in other shapes; palettes."""
    large = np.zeros((64, 64, 3), np.uint8)
    other = large.copy()
    other[32, 32] = 1
    assert repr(large) == repr(other)
    assert identity_of(large) == identity_of(large.copy()) != identity_of(other)
    assert identity_of(large) != identity_of(large.reshape(32, 128, 3))
    assert identity_of(picture()) == identity_of(picture()) != identity_of(picture((4, 5)))
    black, white = (Image.new("P", (5, 4)) for _ in range(2))
    white.putpalette([255] * 768)
    assert black.tobytes() == white.tobytes()
    assert identity_of(black) != identity_of(white)
    assert identity_of("a.png") == identity_of("a.png") != identity_of(b"a.png.")
