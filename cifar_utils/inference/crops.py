"""Which parts of an image the network is given; chosen by benchmarks/photographs.py."""

import numpy as np
from PIL import Image

from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.inference.images import NEUTRAL_GREY

CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
CORNER_ZOOM = 0.85
SMALLEST_SCENE = 64  # pixels of the shorter side; less is a thumbnail, and cutting blurs it


def square_at(width, height, place, zoom=1.0):
    """Return a square box.

    Args:
        width, height: Size of the image in pixels.
        place: Where the square is, from 0 (left or top) to 1 (right or bottom), across and down.
        zoom: Its side over the image's shorter side, in (0, 1].

    Returns:
        (left, top, right, bottom), whole pixels inside of the image.
    """
    side = max(1, round(min(width, height) * zoom))
    left, top = round((width - side) * place[0]), round((height - side) * place[1])
    return (left, top, left + side, top + side)


def choose_boxes(width, height):
    """Return the boxes that the classifier evaluates, each (left, top, right, bottom).

    The centred square, and for more than a thumbnail four slightly smaller squares in the corners.
    """
    boxes = [square_at(width, height, (0.5, 0.5))]
    if min(width, height) >= SMALLEST_SCENE:
        boxes += [square_at(width, height, corner, CORNER_ZOOM) for corner in CORNERS]
    return boxes


def choose_crop(probs):
    """Return which of some crops, (crops, classes), has the most confident prediction.

    It most likely holds the object. Averaging all crops is correct less often, and no better at
    telling that there is no object.
    """
    return int(probs.max(axis=1).argmax())


def cut_out(image, boxes, size=IMAGE_SIZE):
    """Cut boxes out of an image and scale each to a square, antialiased (Lanczos).

    Args:
        image: RGB image, as `images.open_picture` returns it.
        boxes: Rows (left, top, right, bottom) in pixels of the image, whole numbers. What is
            outside of the image becomes neutral grey; what is not square is squashed.
        size: Side of the squares, in pixels.

    Returns:
        uint8 (len(boxes), size, size, 3). A box of that very size comes through unchanged.
    """
    squares = []
    for left, top, right, bottom in boxes:
        width, height = right - left, bottom - top
        part, box = image, (left, top, right, bottom)
        if not (0 <= left and 0 <= top and right <= image.width and bottom <= image.height):
            part, box = Image.new("RGB", (width, height), NEUTRAL_GREY), (0, 0, width, height)
            part.paste(image, (-left, -top))
        # A photo of twelve megapixels is first averaged over whole numbers of pixels, which is much
        # faster. This is `crop(box).resize(…, reducing_gap=3)` without a copy of the crop; a plain
        # `resize(box=…)` would reach over the edge of the box.
        across, down = max(1, int(width / size / 3)), max(1, int(height / size / 3))
        part = part.reduce((across, down), box)
        whole_box = (0, 0, width / across, height / down)
        square = part.resize((size, size), Image.Resampling.LANCZOS, whole_box)
        squares.append(np.asarray(square))
    return np.stack(squares)
