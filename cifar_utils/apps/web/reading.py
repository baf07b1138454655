"""Reads pictures for the page, with a bound on the memory of the server's process.

A picture of 64 megapixels takes half a gigabyte while it is decoded. Up to `PIXELS_AT_A_TIME` are
decoded in the server; a larger picture is read by a process of its own (`python -m
cifar_utils.apps.web.reading`), which sends back the little that is needed and takes its memory with it.
So is a file that is far longer than its pixels need: it may be made to keep a decoder busy, and
that process has a limit of time.
"""

import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_utils.apps.web.bounds import Gate
from cifar_utils.apps.web.limits import (
    BYTES_PER_PIXEL,
    FEW_BYTES,
    PIXELS_AT_A_TIME,
    READER_SECONDS,
)
from cifar_utils.errors import ImageError
from cifar_utils.inference.crops import choose_boxes, cut_out
from cifar_utils.inference.images import measure_picture, open_picture, open_reduced

PACKAGE_PARENT = Path(__file__).resolve().parent.parent.parent.parent


@dataclass(frozen=True, eq=False)
class Reading:
    """What is kept of a picture.

    Attributes:
        small: The picture, upright, as an RGB image of at most the side that was asked for.
        size: (width, height) of the upright picture in pixels.
        crops: uint8 (k, 32, 32, 3), what the network will see; k is 0 for a mere thumbnail.
        boxes: Where the crops lie in the picture: rows (left, top, right, bottom), in pixels.
    """

    small: Image.Image
    size: tuple[int, int]
    crops: np.ndarray
    boxes: list[tuple[int, int, int, int]]


_decoding = Gate(PIXELS_AT_A_TIME)
_one_reader = threading.Lock()


def read_picture(data, side) -> Reading:
    """Read a picture that is to be classified.

    Args:
        data: The file's bytes.
        side: Longest side of `Reading.small`, in pixels.

    Raises:
        ImageError: If it cannot be read as a picture.
    """
    return _read(data, side, False)


def read_thumbnail(data, side) -> Reading:
    """Read a picture that is only shown; a JPEG is not decoded at its full size.

    Args and errors are those of `read_picture`.
    """
    return _read(data, side, True)


def _read(data, side, thumbnail):
    """Read a picture here or, if it is large, in another process."""
    pixels = measure_picture(data, side if thumbnail else None)
    if pixels > PIXELS_AT_A_TIME or len(data) > FEW_BYTES + BYTES_PER_PIXEL * pixels:
        with _one_reader:
            return _read_elsewhere(data, side, thumbnail)
    with _decoding.hold(pixels):
        return _read_here(data, side, thumbnail)


def _read_here(data, side, thumbnail):
    """Decode a picture in this process."""
    image = open_reduced(data, side) if thumbnail else open_picture(data)
    boxes = [] if thumbnail else choose_boxes(*image.size)
    crops = cut_out(image, boxes) if boxes else np.empty((0, 32, 32, 3), np.uint8)
    size = image.size
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Reading(image, size, crops, boxes)


def _read_elsewhere(data, side, thumbnail):
    """Let a process of its own decode a picture."""
    paths = [str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", __name__, str(side), str(int(thumbnail))]
    try:
        done = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=READER_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    except subprocess.TimeoutExpired:
        raise ImageError(
            f"The picture was not decoded within {READER_SECONDS} s. Scale it down, and try again."
        ) from None
    if done.returncode:
        raise ImageError(
            "The picture's pixels took more memory than there is, or its decoder broke down. Scale "
            "it down, or save it as JPEG."
        )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as read:
        if "error" in read:
            raise ImageError(str(read["error"]))
        boxes = [tuple(map(int, box)) for box in read["boxes"]]
        width, height = map(int, read["size"])
        return Reading(Image.fromarray(read["small"]), (width, height), read["crops"], boxes)


def main(side, thumbnail):
    """Read a picture from the standard input, and write what is kept of it to the output."""
    try:
        read = _read_here(sys.stdin.buffer.read(), side, thumbnail)
        small, boxes = np.asarray(read.small), np.array(read.boxes, int).reshape(-1, 4)
        kept = {"small": small, "size": np.array(read.size), "crops": read.crops, "boxes": boxes}
    except ImageError as error:
        kept = {"error": np.array(str(error))}
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    sys.stdout.buffer.write(buffer.getvalue())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "1")
