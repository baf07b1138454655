"""What a network gets to see of a picture: the squares cut from it, and their mirrored copies.

Two independent choices. *Crops* turn a picture of any shape into one or more 32×32 images; *views*
turn each of those into itself alone, itself and its mirror image, or the six views of `tta`, and
average the answers. NumPy and Pillow only.
"""

import numpy as np
from PIL import Image

from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.inference.images import NEUTRAL_GREY

# Shift down, shift right, mirrored; and how much the answer counts. As in `tta`, whose views these
# are: the average of the first two is what the `mirrored` views are.
SHIFTS = ((0, 0), (-1, -1), (1, 1))
VIEWS = {"one": (1.0,), "mirrored": (0.5, 0.5), "six": (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)}


def make_views(images, kind):
    """Make the views of images.

    Args:
        images: uint8 (n, 32, 32, 3).
        kind: A key of `VIEWS`.

    Returns:
        uint8 (k, n, 32, 32, 3), one view of all images after another.
    """
    count = len(VIEWS[kind])
    if count <= 2:
        return np.stack([images, images[:, :, ::-1]][:count])
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    views = []
    for down, right in SHIFTS:
        moved = padded[:, 1 - down : 1 - down + side, 1 - right : 1 - right + side]
        views += [moved, moved[:, :, ::-1]]
    return np.stack(views)


def average_views(probs, kind):
    """Average the answers to views.

    Args:
        probs: (k, n, classes), in the order of `make_views`.
        kind: A key of `VIEWS`.

    Returns:
        float32 (n, classes): the softmax of the averaged logits.
    """
    if len(probs) == 1:
        return probs[0]
    weights = np.array(VIEWS[kind], np.float32)
    logs = np.tensordot(weights, np.log(np.maximum(probs, 1.2e-38)), axes=1)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def cut_out(image, boxes, size=IMAGE_SIZE):
    """Cut boxes out of a picture and scale each to a square, antialiased (Lanczos).

    Args:
        image: RGB image, as `pictures.open_picture` returns it.
        boxes: Rows (left, top, right, bottom) in pixels of the picture, whole numbers. What lies
            outside of the picture becomes neutral grey; what is not square is squashed.
        size: Side of the squares, in pixels.

    Returns:
        uint8 (len(boxes), size, size, 3). A box of that very size comes through unchanged.
    """
    squares = []
    for left, top, right, bottom in boxes:
        inside = 0 <= left and 0 <= top and right <= image.width and bottom <= image.height
        if inside:
            # Not `resize(box=…)`: its filter reaches over the edge of the box.
            part = image.crop((left, top, right, bottom))
        else:
            part = Image.new("RGB", (right - left, bottom - top), NEUTRAL_GREY)
            part.paste(image, (-left, -top))
        # A photo of twelve megapixels is first reduced by whole numbers, which is much faster.
        square = part.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
        squares.append(np.asarray(square))
    return np.stack(squares)
