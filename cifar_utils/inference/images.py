"""Any image in, an upright RGB image out."""

import contextlib
import importlib.util
import io
import os
import re
import sys
import urllib.parse
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from cifar_utils.errors import ImageError
from cifar_utils.paths import expand_home

MAX_PIXELS = 64_000_000  # a 48 megapixel phone photo fits; decoded, it takes 4 bytes per pixel
MAX_BYTES = 25_000_000
# Photographs and screenshots only; one of Pillow's other readers runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF", "PPM")
SIZE_LIMIT = "1 pixel to at most 64 megapixels are read. Scale it, or choose another image."
# A scheme of two letters or more: "C:/" is a drive. Path() makes one slash of two.
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)
MIRRORED, SIDES = (2, 4, 5, 7), {2: "upright", 3: "upside down", 4: "upside down"}  # EXIF's numbers
NEUTRAL_GREY = (128, 128, 128)
CONVERT = "open it in an image viewer and save it as JPEG or PNG."
NOT_IMAGES = (  # how the file begins, in lower case; what it is
    (b"pk\x03\x04", "a zip archive or an office document: unpack it, and choose an image."),
    (b"%pdf", "a PDF document: take a screenshot of the image in it."),
    (b"<svg", "an SVG drawing: export it as PNG."),
    (b"<?xml", "an XML or SVG file: export it as PNG."),
    (b"<!doctype html", "a web page: save the image itself."),
    (b"<html", "a web page: save the image itself."),
)


def open_picture(source, side=None) -> Image.Image:
    """Read any image as upright 8-bit RGB.

    EXIF orientation is applied; palette, grey, CMYK and 16-bit images are converted; transparency
    is laid on neutral grey; of an animation the first frame is taken. Metadata (place, names) is
    dropped. A file is what it decodes as, whatever its name says.

    Args:
        source: A path (str or Path; "-" is standard input), a `file://` address, the file's bytes,
            a PIL image, or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of uint8, uint16,
            bool, integers 0 to 255 or floats 0 to 1.
        side: How many pixels the shorter side needs, for a thumbnail: a JPEG is then decoded at
            a fraction of its size, much faster. None reads all pixels.

    Returns:
        A new PIL image of mode RGB, at most `MAX_PIXELS` pixels. Where the meaning of the pixels
        had to be decided by their values, `image.info["note"]` is a sentence that says how.

    Raises:
        ImageError: If `source` is no such image; the message says why and what to do.
    """
    if isinstance(source, str | os.PathLike):
        data, name = _read_file(os.fsdecode(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "The image"
    elif isinstance(source, Image.Image):
        return _decode(source, "The image")
    elif hasattr(source, "__array__"):
        return _with_note(*_from_array(np.asarray(source)))
    else:
        raise ImageError(
            f"An image cannot be made of a {type(source).__name__}. Give a path, bytes, a PIL image"
            " or an array (height, width, 3)."
        )
    _check_bytes(len(data), name)
    with warnings.catch_warnings():  # damaged metadata makes Pillow warn; the pixels are still good
        warnings.simplefilter("ignore")
        with _identify(data, name) as image:
            if side is not None:
                _check_size(name, *image.size)  # before a JPEG is told to come smaller
                image.draft("RGB", (side, side))
            return _decode(image, name, own=True)


def describe_orientation(source) -> str:
    """Say in a sentence what a file's EXIF data state about its orientation, and what was done."""
    turn = None
    with contextlib.suppress(Exception):  # damaged metadata: the image stays as it is stored
        if isinstance(source, str | os.PathLike):
            source, _ = _read_file(os.fsdecode(source))
        if isinstance(source, bytes | bytearray | memoryview):
            source = _identify(bytes(source), "The image")
        turn = source.getexif().get(ExifTags.Base.Orientation)
    if turn in range(2, 9):
        held = SIDES.get(turn, "on its side") + ", and shows a mirror image" * (turn in MIRRORED)
        return f"The file says that the camera was held {held}; the image was put upright."
    if turn == 1:
        return "The file says that it is upright already."
    return "The file does not say which side is up: it is taken as it is stored."


def _read_file(text):
    """Read at most `MAX_BYTES` from a path or stream; return the bytes and a name for messages."""
    if text == "-" and not os.path.isfile(text):
        stream = getattr(sys.stdin, "buffer", None)  # Jupyter's is no stream of bytes
        if stream is None or stream.isatty():
            raise ImageError("Standard input has no image: pipe one in, or give a file's path.")
        return stream.read(MAX_BYTES + 1), "Standard input"
    address = urllib.parse.urlsplit(text) if ADDRESS.match(text) else None
    if address and not os.path.exists(text):
        if address.scheme.lower() != "file" or address.netloc not in ("", "localhost"):
            raise ImageError(f"{text[:200]} is an address: download the image, and give its path.")
        text = urllib.parse.unquote(address.path)
    path = expand_home(text)
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder. Give the path of one image in it.")
        if path.is_file():
            _check_bytes(path.stat().st_size, path.name)
            return path.read_bytes(), path.name
        with path.open("rb") as stream:  # a device, such as /dev/stdin or the shell's <(command)
            return stream.read(MAX_BYTES + 1), str(path)
    except FileNotFoundError:
        raise ImageError(f"There is no file {path} (paths start at {Path.cwd()}).") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):  # a ValueError, too
            raise
        raise ImageError(f"{path} cannot be read ({error}). Check the path.") from error


def _check_bytes(count, name):
    """Refuse a file that holds nothing, or more than `MAX_BYTES`."""
    if count == 0:
        raise ImageError(f"{name} is empty (0 bytes). Copy or download it again.")
    if count > MAX_BYTES:
        raise ImageError(f"{name} is too large: at most 25 MB are read. Scale it down.")


def _identify(data, name):
    """Open the file's header with the readers of `FORMATS`; no pixel is decoded yet."""
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    try:
        known = [kind for kind in FORMATS if kind in Image.OPEN]
        return Image.open(io.BytesIO(data), formats=known)
    except UnidentifiedImageError:
        raise ImageError(f"{name} {_explain_bytes(data)}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} is too large: {SIZE_LIMIT}") from None
    except Exception as error:  # a reader may raise anything on a hostile header
        raise ImageError(_damaged(name, error)) from error


def _explain_bytes(data):
    """Say what a file that is no known image seems to be, and what to do with it."""
    if data[4:8] == b"ftyp":
        return f"is HEIC, AVIF or a video. Run 'pip install -U pillow pillow-heif', or {CONVERT}"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what in NOT_IMAGES:
        if start.startswith(magic):
            return f"is not an image but {what}"
    if start.isascii() and not any(byte < 32 and byte not in b"\t\r\n" for byte in start):
        return "is not an image but text: choose the image itself."
    return f"is no image that can be read here, or its beginning is damaged: {CONVERT}"


def _decode(image, name, own=False):
    """Turn an opened image into upright RGB, after a look at its size."""
    _check_size(name, *image.size, getattr(image, "tag_v2", None))
    try:
        image.load()
        upright = image
        with contextlib.suppress(Exception):  # damaged EXIF data: it stays as it is stored
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                upright = ImageOps.exif_transpose(image)
        ours = own or upright is not image  # nobody else holds its pixels
        if ours and upright.mode == "RGB" and "transparency" not in upright.info:
            # They are not copied: at 64 megapixels that takes 256 MB. A new image around them
            # leaves the file's metadata behind.
            return _with_note(upright._new(upright.im), "")
        return _with_note(*_to_rgb(upright, image.format))
    except ImageError:
        raise
    except Exception as error:  # a decoder may raise anything on damaged data
        raise ImageError(_damaged(name, error)) from error


def _with_note(image, note):
    """Replace the metadata of an image by a note of ours."""
    image.info = {"note": note} if note else {}
    return image


def _to_rgb(image, kind=None):
    """Convert any PIL mode to RGB; return the new image and a note."""
    if image.mode.startswith(("I", "F")):  # one number per pixel: 16 or 32 bits, or floats
        return _from_array(np.asarray(image), from_image=True)
    if "transparency" not in image.info and image.mode not in ("RGBA", "LA", "PA", "RGBa", "La"):
        return image.convert("RGB"), ""
    # Premultiplied grey: Pillow converts it to LA and nothing else.
    image = image.convert("LA") if image.mode == "La" else image
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha, note = image.getchannel("A"), ""
    if alpha.getextrema()[1] == 0:
        if kind == "BMP":  # many programs leave the fourth byte zero, and viewers ignore it
            return image.convert("RGB"), "Its alpha channel is empty: it is shown opaque."
        note = "It is wholly transparent: nothing is visible but the grey behind it."
    ground = Image.new("RGB", image.size, NEUTRAL_GREY)
    ground.paste(image, mask=alpha)
    return ground, note


def _from_array(array, from_image=False):
    """Turn an array (h, w[, 1 | 3 | 4]) into an RGB image; return it and a note."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ImageError(
            f"The array has shape {array.shape}; one image is (height, width, 3), channels last."
            " A classifier's predict also takes a batch: (n, height, width, 3)."
        )
    _check_size("The array", *array.shape[1::-1])
    array, note = _to_uint8(array, from_image)
    image, other = _to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    return image, note or other


def _to_uint8(array, from_image):
    """Bring values to 0..255; return them and a note where their type says something else.

    Files often hold 8-bit values in a wider type, so the values decide, as in scientific viewers.
    An image (`from_image`) may also have 16 bits in 32-bit integers, or floats to 255.
    """
    kind, wide = array.dtype.kind, array.dtype == np.uint16 or from_image
    if array.dtype == np.uint8:
        return array, ""
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255), ""
    low, high = (array.min(), array.max()) if kind in "iuf" else (None, None)
    note = f"Its {array.dtype} values run from {low} to {high}: they are read as 8 bits."
    if kind in "iu" and 0 <= low and high <= 255:
        return array.astype(np.uint8), note if wide and high > 0 else ""
    if kind in "iu" and wide and 0 <= low and high <= 65535:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8), ""
    if kind == "f" and 0 <= low and high <= 1:  # false for NaN, which has no place here either
        return np.rint(array * 255).astype(np.uint8), ""
    if kind == "f" and from_image and 0 <= low and high <= 255:
        return np.rint(array).astype(np.uint8), note
    raise ImageError(
        f"The image's values are {array.dtype} from {low} to {high}; expected are uint8, uint16, "
        "integers 0 to 255 or floats 0 to 1. Scale them first."
    )


def _check_size(name, width, height, tags=None):
    """Refuse what has no pixels, or more than `MAX_PIXELS`, in all or in one tile of a TIFF."""
    if not 0 < width * height <= MAX_PIXELS:
        raise ImageError(f"{name} is {width} x {height} pixels: {SIZE_LIMIT}")
    tile = 0
    with contextlib.suppress(Exception):  # a tag may hold anything; then the decoder refuses it
        tile = int(tags[TiffImagePlugin.TILEWIDTH]) * int(tags[TiffImagePlugin.TILELENGTH])
    if tile > MAX_PIXELS:
        raise ImageError(f"{name} is stored in tiles that are too large: {SIZE_LIMIT}")


def _damaged(name, error):
    """Word what a failed decoder said."""
    reason = str(error) or type(error).__name__
    return f"{name} is damaged or cut short ({reason}). Copy it again, or choose another image."
