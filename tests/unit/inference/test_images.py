"""Any image is read as a person would see it; anything else is refused with a next step."""

import gc
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from hostile_files import encode, make_files, make_png
from PIL import Image

from cifar_utils.errors import ImageError
from cifar_utils.inference import Classifier
from cifar_utils.inference.images import MAX_BYTES, NEUTRAL_GREY, describe_orientation, open_picture

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


def red_over_blue():
    """Return an image 20 wide and 40 high: upper half red, lower half blue."""
    image = Image.new("RGB", (20, 40), RED)
    image.paste(BLUE, (0, 20, 20, 40))
    return image


def natural_image(side=32):
    """Return an image with gradients and edges, fixed."""
    y, x = np.mgrid[:side, :side]
    planes = np.stack([x * 255 / side, y * 255 / side, 255.0 * ((x // 4 + y // 4) % 2)], axis=2)
    return planes.astype(np.uint8)


def assert_shows(source, pixels):
    np.testing.assert_array_equal(np.asarray(open_picture(source)), pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG"])
def test_every_usual_format_shows_the_same_image(kind):
    image = open_picture(encode(red_over_blue(), kind))
    assert (image.mode, image.size) == ("RGB", (20, 40))
    np.testing.assert_allclose(image.getpixel((10, 5)), RED, atol=12)
    np.testing.assert_allclose(image.getpixel((10, 35)), BLUE, atol=12)


def test_a_path_bytes_image_and_array_give_the_same_image(tmp_path):
    pixels = natural_image()
    path = tmp_path / "my cat.jpg"  # the name lies, on purpose
    path.write_bytes(encode(Image.fromarray(pixels)))
    sources = (path, str(path), path.as_uri(), path.read_bytes(), memoryview(path.read_bytes()))
    for source in (*sources, Image.fromarray(pixels), pixels, pixels / 255, pixels.astype(int)):
        assert_shows(source, pixels)
    assert open_picture(np.ones((3, 5), bool)).getpixel((4, 2)) == (255, 255, 255)
    assert open_picture(np.zeros((3, 5, 1), np.uint8)).size == (5, 3)


@pytest.mark.parametrize(
    ("orientation", "red_at", "words"),
    [(1, (10, 5), "upright already"), (3, (10, 35), "upside down"), (6, (35, 10), "on its side")],
)
def test_a_phone_photo_stands_upright_and_tells_nothing_else(orientation, red_at, words):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "taken at home"
    data = encode(red_over_blue(), "JPEG", exif=exif, quality=95)
    image = open_picture(data)
    assert image.size == ((20, 40) if orientation in (1, 3) else (40, 20))
    np.testing.assert_allclose(image.getpixel(red_at), RED, atol=12)
    assert image.info == {}
    assert words in describe_orientation(data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA", "RGBa", "La"])
def test_every_pillow_mode_becomes_rgb(mode):
    grey = Image.new("L", (8, 8), 255)
    image = grey.convert("LA").convert(mode) if mode == "La" else grey.convert("RGBA").convert(mode)
    assert open_picture(image).getpixel((4, 4)) == (255, 255, 255)


def test_sixteen_bits_keep_their_brightness():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for source in (ramp, encode(Image.fromarray(ramp)), Image.fromarray(ramp.astype(np.int32))):
        assert_shows(source, expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_transparency_is_laid_on_grey_and_noted_where_nothing_else_is_visible(kind, classifier):
    data = encode(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), kind)
    assert open_picture(data).getpixel((4, 4)) == NEUTRAL_GREY
    noted = classifier.predict(data)
    assert "wholly transparent" in noted.note
    assert noted.to_dict("a.png")["note"] == noted.note
    half = open_picture(Image.new("RGBA", (4, 4), (255, 0, 0, 128)))
    np.testing.assert_allclose(half.getpixel((1, 1)), (192, 64, 64), atol=2)
    assert "note" not in classifier.predict(half).to_dict("a.png")


def test_a_bitmap_whose_alpha_channel_is_empty_is_shown_opaque_as_in_viewers():
    pixels = np.dstack([natural_image(), np.zeros((32, 32), np.uint8)])
    header = struct.pack("<2sIHHI", b"BM", 14 + 108 + pixels.size, 0, 0, 14 + 108)
    masks = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, 32, -32, 1, 32, 3, pixels.size, 0, 0, 0, 0)
    image = open_picture(header + info + masks + bytes(52) + pixels.tobytes())
    np.testing.assert_array_equal(np.asarray(image), natural_image())
    assert "alpha" in image.info["note"]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_eight_bits_in_a_wider_type_are_read_by_their_values(kind):
    grey = np.arange(256).reshape(16, 16)
    image = open_picture(encode(Image.fromarray(grey.astype(kind)), "TIFF"))
    np.testing.assert_array_equal(np.asarray(image)[:, :, 1], grey)
    assert "8 bits" in image.info["note"]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(open_picture(data).getpixel((4, 4)), RED, atol=12)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((2, 32, 32, 3), np.uint8), "takes a batch"),
        (np.zeros((3, 32, 32), np.uint8), "channels last"),
        (np.zeros((0, 5, 3), np.uint8), "channels last"),
        (np.full((4, 4, 3), 255.0), "Scale them"),
        (np.full((4, 4, 3), np.nan), "Scale them"),
        (np.full((4, 4), "a"), "Scale them"),
        (None, "NoneType"),
    ],
)
def test_an_array_that_is_no_image_is_refused(array, word):
    with pytest.raises(ImageError, match=word):
        open_picture(array)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello, this is a shopping list\n", "text"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\xef\xbb\xbf  <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60), "pillow-heif"),
        (bytes(range(256)), "damaged"),
    ],
)
def test_a_file_that_is_no_image_is_named_for_what_it_is(tmp_path, data, word):
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=f"(?s)holiday.png.*{word}"):
        open_picture(path)


def test_paths_that_lead_nowhere(tmp_path):
    for source, word in [
        (tmp_path / "none.png", "no file"),
        (tmp_path, "folder"),
        ("https://example.org/cat.jpg", "download the image"),
        (Path("https://example.org/cat.jpg"), "download the image"),
        ("file://server/share/cat.jpg", "download the image"),
        ("file:///no/such/cat.jpg", "no file /no/such"),
        ("a\0b", "no file|cannot be read"),
        ("x" * 5000, "no file|cannot be read"),
    ]:
        with pytest.raises(ImageError, match=word):
            open_picture(source)


def test_streams_are_read(tmp_path):
    data = encode(Image.fromarray(natural_image()))
    code = (
        "import sys; from cifar_utils.inference.images import open_picture;"
        "print(open_picture(sys.argv[1]).size)"
    )
    for name, given, told in (("-", data, b"(32, 32)"), ("/dev/stdin", b"", b"empty")):
        done = subprocess.run([sys.executable, "-c", code, name], input=given, capture_output=True)
        assert told in done.stdout + done.stderr
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    assert open_picture(f"/dev/fd/{reader}").size == (32, 32)
    os.close(reader)
    with pytest.raises(ImageError, match="at most 25 MB"):
        open_picture("/dev/zero")


@pytest.mark.parametrize("size", [(8001, 8001), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_by_its_header(size, monkeypatch):
    def refuse(self):
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    with pytest.raises(ImageError, match="at most 64 megapixels"):
        open_picture(make_png(*size, bytes(10_000_000)))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(ImageError, match="at most 25 MB"):
        open_picture(path)


def test_a_thousand_hostile_files_are_refused_or_answered_and_memory_stays(classifier):
    answered, before = 0, 0
    for number, (_, data) in enumerate(make_files(1000)):
        if number == 250:  # by then every reader has been loaded and every buffer made
            gc.collect()
            before = psutil.Process().memory_info().rss
        try:
            assert len(classifier.predict(data).probs) == 10
            answered += 1
        except ImageError:
            continue
    assert 100 < answered < 500  # polyglots and scratched images are images still
    gc.collect()
    assert psutil.Process().memory_info().rss / before < 1.1
