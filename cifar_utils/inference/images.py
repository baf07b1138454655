"""Any picture in, an upright RGB image out."""

import contextlib
import importlib.util
import io
import os
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
SIZE_LIMIT = "1 pixel to at most 64 megapixels are read. Scale it, or choose another picture."
TURNS = {  # EXIF's numbers
    2: "upright, and shows a mirror image",
    3: "upside down",
    4: "upside down, and shows a mirror image",
    5: "on its side, and shows a mirror image",
    6: "on its side",
    7: "on its side, and shows a mirror image",
    8: "on its side",
}
NEUTRAL_GREY = (128, 128, 128)
CONVERT = "open it in an image viewer and save it as JPEG or PNG."
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
NOT_PICTURES = (  # how the file begins, in lower case; what it is; what to do
    (b"pk\x03\x04", "a zip archive or an office document", "Unpack it and choose a picture."),
    (b"%pdf", "a PDF document", "Take a screenshot of the picture in it and choose that."),
    (b"<svg", "an SVG drawing", f"Export it as PNG, or {CONVERT}"),
    (b"<?xml", "an XML or SVG file", f"Export it as PNG, or {CONVERT}"),
    (b"<!doctype html", "a web page", "Save the picture itself, not the page."),
    (b"<html", "a web page", "Save the picture itself, not the page."),
)


def open_picture(source) -> Image.Image:
    """Read any picture as an upright 8-bit RGB image.

    EXIF orientation is applied; palette, grey, CMYK and 16-bit pictures are converted; transparency
    is laid on neutral grey; of an animation the first frame is taken. Metadata (place, names) is
    dropped. A file is what it decodes as, whatever its name says.

    Args:
        source: A path (str or Path), the file's bytes, a PIL image, or an array (h, w), (h, w, 1),
            (h, w, 3) or (h, w, 4) of uint8, uint16, bool, integers 0 to 255 or floats 0 to 1.

    Returns:
        A new PIL image of mode RGB, at most `MAX_PIXELS` pixels.

    Raises:
        ImageError: If `source` is no such picture; the message says why and what to do.
    """
    if isinstance(source, str | os.PathLike):
        data, name = _read_file(expand_home(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), "The picture"
    elif isinstance(source, Image.Image):
        return _decode(source, "The picture")
    elif hasattr(source, "__array__"):
        return _from_array(np.asarray(source))
    else:
        raise ImageError(
            f"A picture cannot be made of a {type(source).__name__}. Give a path, the bytes of a "
            "file, a PIL image or an array (height, width, 3)."
        )
    _check_bytes(len(data), name)
    with warnings.catch_warnings():  # damaged metadata makes Pillow warn; the picture still counts
        warnings.simplefilter("ignore")
        with _identify(data, name) as image:
            return _decode(image, name)


def describe_orientation(source) -> str:
    """Say what a file's EXIF data tell about its orientation, and what `open_picture` does with it.

    Args:
        source: Whatever `open_picture` takes.

    Returns:
        One sentence.
    """
    try:
        if isinstance(source, str | os.PathLike):
            source, _ = _read_file(expand_home(source))
        if isinstance(source, bytes | bytearray | memoryview):
            source = _identify(bytes(source), "The picture")
        turn = (
            source.getexif().get(ExifTags.Base.Orientation) if hasattr(source, "getexif") else None
        )
    except Exception:  # damaged metadata: the picture stays as it lies
        turn = None
    if turn in TURNS:
        return f"The file says that the camera was held {TURNS[turn]}; the picture was put upright."
    if turn == 1:
        return "The file says that it is upright already."
    return "The file does not say which side is up: it is taken as it lies."


def measure_picture(data, side=None) -> int:
    """Return how many pixels decoding holds at a time, from a file's beginning.

    Args:
        data: The file's bytes.
        side: As in `open_reduced`, to learn what that would decode; None for the picture itself.

    Returns:
        Those of the picture or, where that is more, of one of its tiles. A progressive JPEG
        counts whole, also where it comes smaller: its decoder keeps all coefficients.

    Raises:
        ImageError: If it is no picture, or one that is too large.
    """
    with _open_bytes(data, None) as image:
        whole = _count_pixels(image)
        if side is None or image.info.get("progressive"):
            return whole
        image.draft("RGB", (side, side))
        return min(whole, _count_pixels(image))


def open_reduced(data, side) -> Image.Image:
    """Read a picture for a thumbnail. A JPEG is decoded at a fraction of its size, much faster.

    Args:
        data: The file's bytes.
        side: How many pixels the shorter side needs; a smaller picture is read as it is.

    Returns:
        As `open_picture`; a JPEG may have fewer pixels.

    Raises:
        ImageError: As `open_picture`.
    """
    with _open_bytes(data, side) as image:
        return _decode(image, "The picture")


@contextlib.contextmanager
def _open_bytes(data, side):
    """Open a picture's header, and look at its size before a JPEG is told to come smaller."""
    _check_bytes(len(data), "The picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _identify(data, "The picture") as image:
            _check_size("The picture", *image.size)
            _check_tiles("The picture", image)
            if side is not None:
                image.draft("RGB", (side, side))
            yield image


def _read_file(path):
    """Read a file of at most `MAX_BYTES`; return its bytes and the name for messages."""
    if str(path).startswith(("http:", "https:")):
        raise ImageError(f"{path} is a web address. Download the picture and give its path.")
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder. Give the path of one picture in it.")
        if not path.is_file():
            raise ImageError(
                f"There is no file {path}. Check the spelling, or give the full path "
                f"(relative paths start at {Path.cwd()})."
            )
        _check_bytes(path.stat().st_size, path.name)
        return path.read_bytes(), path.name
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path} cannot be read ({error}). Check the path and the file's permissions."
        ) from error


def _check_bytes(count, name):
    """Refuse a file that holds nothing, or more than `MAX_BYTES`."""
    if count == 0:
        raise ImageError(f"{name} is empty (0 bytes). Copy or download it again.")
    if count > MAX_BYTES:
        raise ImageError(
            f"{name} has {count / 1e6:.0f} MB, and at most {MAX_BYTES / 1e6:.0f} MB are read. "
            "Scale it down, or save it as JPEG."
        )


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
    """Say what a file that is no known picture seems to be, and what to do with it."""
    brands = data[8:12] + data[16:64] if data[4:8] == b"ftyp" else b""
    if b"avif" in brands or b"avis" in brands:
        return f"is an AVIF picture, and this Pillow cannot read it. Upgrade Pillow, or {CONVERT}"
    if any(brand in brands for brand in HEIC_BRANDS):
        return (
            "is a HEIC picture (an iPhone's format). Run 'pip install pillow-heif', choose 'Most "
            f"Compatible' in the phone's camera settings, or {CONVERT}"
        )
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what, advice in NOT_PICTURES:
        if start.startswith(magic):
            return f"is not a picture but {what}. {advice}"
    if start.isascii() and not any(byte < 32 and byte not in b"\t\r\n" for byte in start):
        return "is not a picture but text. Choose the picture itself: JPEG, PNG, WebP, GIF or TIFF."
    return (
        "is no picture that can be read here, or its beginning is damaged. Use JPEG, PNG, WebP, "
        f"AVIF, GIF, BMP or TIFF: {CONVERT}"
    )


def _decode(image, name):
    """Turn an opened picture into upright RGB, after a look at its size."""
    _check_size(name, *image.size)
    _check_tiles(name, image)
    try:
        image.load()
        upright = _upright(image)
        # A turned picture is a new one already: at 64 megapixels a copy takes 256 MB.
        copied = upright is not image and upright.mode == "RGB"
        rgb = upright if copied else _to_rgb(upright)
    except ImageError:
        raise
    except Exception as error:  # a decoder may raise anything on damaged data
        raise ImageError(_damaged(name, error)) from error
    rgb.info = {}
    return rgb


def _upright(image):
    """Apply the EXIF orientation; a picture whose EXIF data is damaged stays as it lies."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:
        return image


def _to_rgb(image):
    """Convert any PIL mode to RGB: 16-bit scaled, transparency laid on neutral grey."""
    if image.mode.startswith(("I", "F")):
        # Mode I is 16-bit grey as well: so Pillow reads some PNG and PGM files.
        values = np.asarray(image)
        return _from_array(values if image.mode[0] == "F" else _from_uint16(values))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        # Premultiplied grey: Pillow converts it to LA and nothing else.
        image = image.convert("LA") if image.mode == "La" else image
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", image.size, NEUTRAL_GREY)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


def _from_array(array):
    """Turn an array (h, w[, 1 | 3 | 4]) into an RGB image."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        raise ImageError(
            f"The array has shape {array.shape}; one picture is (height, width, 3), channels last. "
            "A classifier's predict also takes a batch: (n, height, width, 3)."
        )
    _check_size("The array", array.shape[1], array.shape[0])
    return _to_rgb(Image.fromarray(np.ascontiguousarray(_to_uint8(array))))


def _to_uint8(array):
    """Bring an array's values to 0..255."""
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return _from_uint16(array)
    low, high = (array.min(), array.max()) if kind in "iuf" else (None, None)
    if kind in "iu" and 0 <= low and high <= 255:
        return array.astype(np.uint8)
    if kind == "f" and 0 <= low and high <= 1:  # false for NaN, which has no place here either
        return np.rint(array * 255).astype(np.uint8)
    raise ImageError(
        f"The picture's values are {array.dtype} from {low} to {high}; expected are uint8, uint16, "
        "integers 0 to 255 or floats 0 to 1. Scale them first."
    )


def _from_uint16(values):
    """Scale 0..65535 to 0..255."""
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("The picture's values leave the range of 16 bits. Scale them to 8 or 16.")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _check_size(name, width, height):
    """Refuse what has no pixels, or more than `MAX_PIXELS`."""
    if not 0 < width * height <= MAX_PIXELS:
        raise ImageError(f"{name} is {width} x {height} pixels: {SIZE_LIMIT}")


def _count_pixels(image):
    """Return the pixels of an opened picture or, where that is more, of one tile of a TIFF file."""
    tile = 0
    with contextlib.suppress(Exception):  # a tag may hold anything; then the decoder refuses it
        tags = getattr(image, "tag_v2", {})
        width = int(tags.get(TiffImagePlugin.TILEWIDTH, 0))
        tile = width * int(tags.get(TiffImagePlugin.TILELENGTH, 0))
    return max(image.width * image.height, tile)


def _check_tiles(name, image):
    """Refuse a file whose tiles are larger than `MAX_PIXELS`, however small its picture."""
    if _count_pixels(image) > MAX_PIXELS:
        raise ImageError(f"{name} is stored in tiles that are too large: {SIZE_LIMIT}")


def _damaged(name, error):
    """Word what a failed decoder said."""
    return (
        f"{name} is damaged or cut short ({str(error) or type(error).__name__}). "
        "Copy or download it again, or choose another picture."
    )
