"""Any picture is read as a person would see it; anything else is refused with a next step."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_files import encode, make_png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cifar_utils.errors import ImageError
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.images import MAX_BYTES, NEUTRAL_GREY, open_picture

RED, BLUE = (255, 0, 0), (0, 0, 255)


def red_over_blue():
    """Return a picture 20 wide and 40 high: upper half red, lower half blue."""
    image = Image.new("RGB", (20, 40), RED)
    image.paste(BLUE, (0, 20, 20, 40))
    return image


def natural_image(side=32):
    """Return a picture with gradients and edges, fixed."""
    y, x = np.mgrid[:side, :side]
    planes = np.stack([x * 255 / side, y * 255 / side, 255.0 * ((x // 4 + y // 4) % 2)], axis=2)
    return planes.astype(np.uint8)


def assert_says_what_to_do(error):
    """Check that a message has a reason and a next step, in whole sentences."""
    text = str(error.value)
    assert text.endswith((".", ")"))
    assert text.count(". ") + text.count(": ") + text.count("), ") >= 1, text
    assert len(text) < 500


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG"])
def test_every_usual_format_shows_the_same_picture(kind):
    picture = open_picture(encode(red_over_blue(), kind))
    assert picture.mode == "RGB"
    assert picture.size == (20, 40)
    np.testing.assert_allclose(picture.getpixel((10, 5)), RED, atol=12)
    np.testing.assert_allclose(picture.getpixel((10, 35)), BLUE, atol=12)


def test_a_path_bytes_image_and_array_give_the_same_picture(tmp_path):
    image = Image.fromarray(natural_image())
    path = tmp_path / "picture.jpg"  # the name lies, on purpose
    path.write_bytes(encode(image))
    expected = natural_image()
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes()), image):
        np.testing.assert_array_equal(np.asarray(open_picture(source)), expected)
    np.testing.assert_array_equal(np.asarray(open_picture(expected)), expected)


@pytest.mark.parametrize(
    ("orientation", "red_at"), [(1, (10, 5)), (3, (10, 35)), (6, (35, 10)), (8, (5, 10))]
)
def test_a_phone_photo_stands_upright(orientation, red_at):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encode(red_over_blue(), "JPEG", exif=exif, quality=95))
    assert picture.size == ((20, 40) if orientation in (1, 3) else (40, 20))
    np.testing.assert_allclose(picture.getpixel(red_at), RED, atol=12)


def test_metadata_does_not_survive():
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    assert open_picture(encode(red_over_blue(), "JPEG", exif=exif)).info == {}


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA", "RGBa", "La"])
def test_every_pillow_mode_becomes_rgb(mode):
    grey = Image.new("L", (8, 8), 255)
    image = grey.convert("LA").convert(mode) if mode == "La" else grey.convert("RGBA").convert(mode)
    assert open_picture(image).getpixel((4, 4)) == (255, 255, 255)


def test_sixteen_bits_keep_their_brightness():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for source in (ramp, encode(Image.fromarray(ramp)), Image.fromarray(ramp.astype(np.int32))):
        np.testing.assert_array_equal(np.asarray(open_picture(source))[:, :, 1], expected)


def test_transparency_is_laid_on_neutral_grey():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    palette = Image.new("P", (4, 4), 0)
    for data in (
        encode(image),
        encode(palette, transparency=0),
        encode(palette, "GIF", transparency=0),
    ):
        assert open_picture(data).getpixel((1, 1)) == NEUTRAL_GREY
    half = open_picture(Image.new("RGBA", (4, 4), (255, 0, 0, 128))).getpixel((1, 1))
    np.testing.assert_allclose(half, (192, 64, 64), atol=2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_a_wholly_transparent_image_is_noted(kind):
    image = open_picture(encode(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), kind))
    assert image.getpixel((4, 4)) == NEUTRAL_GREY
    assert "wholly transparent" in image.info["note"]
    prediction = Classifier.load().predict(image.copy())
    assert prediction.note == ""  # an RGB image has nothing to be noted
    noted = Classifier.load().predict(np.zeros((8, 8, 4), np.uint8))
    assert "wholly transparent" in noted.note
    assert noted.to_dict("a.png")["note"] == noted.note
    assert "note" not in prediction.to_dict("a.png")


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


def test_arrays_of_other_types():
    floats = natural_image() / 255
    np.testing.assert_array_equal(np.asarray(open_picture(floats)), natural_image())
    np.testing.assert_array_equal(
        np.asarray(open_picture(natural_image().astype(int))), natural_image()
    )
    assert open_picture(np.ones((3, 5), bool)).getpixel((4, 2)) == (255, 255, 255)
    assert open_picture(np.zeros((3, 5, 1), np.uint8)).size == (5, 3)


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((2, 32, 32, 3), np.uint8), "takes a batch"),
        (np.zeros((3, 32, 32), np.uint8), "channels last"),
        (np.zeros((0, 5, 3), np.uint8), "channels last"),
        (np.full((4, 4, 3), 255.0), "Scale them"),
        (np.full((4, 4, 3), np.nan), "Scale them"),
        (np.full((4, 4, 3), -1), "Scale them"),
        (np.full((4, 4), "a"), "Scale them"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array, word):
    with pytest.raises(ImageError, match=word) as error:
        open_picture(array)
    assert_says_what_to_do(error)


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
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
        (bytes(range(256)), "damaged"),
    ],
)
def test_a_file_that_is_no_picture_is_named_for_what_it_is(tmp_path, data, word):
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=word) as error:
        open_picture(path)
    assert "holiday.png" in str(error.value)
    assert_says_what_to_do(error)


def test_paths_that_lead_nowhere(tmp_path):
    for source, word in [
        (tmp_path / "none.png", "no file"),
        (tmp_path, "folder"),
        ("https://example.org/cat.jpg", "download the image"),
        (Path("https://example.org/cat.jpg"), "download the image"),
        ("s3://bucket/cat.jpg", "download the image"),
        ("file://server/share/cat.jpg", "download the image"),
        ("file:///no/such/cat.jpg", "no file /no/such"),
        ("a\0b", "no file|cannot be read"),
        ("x" * 5000, "no file|cannot be read"),
        (None, "NoneType"),
    ]:
        with pytest.raises(ImageError, match=word) as error:
            open_picture(source)
        assert str(error.value).count(".") >= 1


def test_addresses_of_files_and_streams_are_read(tmp_path):
    path = tmp_path / "my cat.png"
    Image.fromarray(natural_image()).save(path)
    np.testing.assert_array_equal(np.asarray(open_picture(path.as_uri())), natural_image())
    code = (
        "import sys; from cifar_utils.inference.images import open_picture;"
        "print(open_picture(sys.argv[1]).size)"
    )
    for name in ("-", "/dev/stdin"):
        command = [sys.executable, "-c", code, name]
        for data, told in ((path.read_bytes(), b"(32, 32)"), (b"", b"empty")):
            done = subprocess.run(command, input=data, capture_output=True)
            assert told in done.stdout + done.stderr
    reader, writer = os.pipe()
    os.write(writer, path.read_bytes())
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


def read_or_refuse(data):
    """Accept a valid answer or an ImageError, and nothing else."""
    try:
        picture = open_picture(data)
    except ImageError:
        return
    assert picture.mode == "RGB"


VALID = {
    kind: encode(Image.fromarray(natural_image(48)), kind)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
}


@settings(max_examples=250, deadline=None)
@given(kind=st.sampled_from(sorted(VALID)), changes=st.data())
def test_truncated_and_bit_flipped_pictures_are_read_or_refused(kind, changes):
    data = bytearray(VALID[kind])
    for _ in range(changes.draw(st.integers(0, 8))):
        # Headers decide most, so half of the flips go there.
        end = changes.draw(st.sampled_from([64, len(data) - 1]))
        data[changes.draw(st.integers(0, end))] ^= 1 << changes.draw(st.integers(0, 7))
    read_or_refuse(bytes(data[: changes.draw(st.integers(0, len(data)))]))


def test_a_thousand_hostile_files_are_refused_or_answered_and_memory_stays():
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[2] / "hostile_files.py"), "1000"],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["other"] == []
    assert report["answered"] + report["refused"] == 1000
    assert report["answered"] > 100  # polyglots and scratched pictures are pictures still
    assert report["refused"] > 500
    assert report["longest"] < 600
    assert report["memory_growth"] < 0.1
