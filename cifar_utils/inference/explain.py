"""Which regions of a picture drove the answer: occlusion, which works with any network and engine.

A patch of what the network sees is blurred away, at every place in turn. Where the class loses most
of its odds, the answer came from (Zeiler & Fergus, "Visualizing and understanding convolutional
networks", ECCV 2014, section 4.1; they used grey patches, which are shapes of their own).
"""

import numpy as np
from PIL import Image, ImageFilter

from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.inference.images import open_picture

PATCH, STRIDE = 10, 5  # pixels of the 32: about a tenth of the view is hidden at a time
BLUR = 6  # pixels; no edge of 32 survives it
SMOOTHED = 1.5  # pixels
DRAWN_SIDE = 512  # pixels; enough to look at
DIMMED = 0.35  # brightness of what did not matter


def compute_heat_map(classifier, picture, label=None) -> np.ndarray:
    """Compute how much each region of a picture speaks for a class.

    Args:
        classifier: An `inference.Classifier`.
        picture: Whatever `pictures.open_picture` takes.
        label: One of the classifier's classes; None takes the most probable one.

    Returns:
        float32 (height, width) of the picture: 1 where hiding a patch costs the class most, 0
        where hiding it costs nothing or helps or where the deciding crop does not reach, and 0
        everywhere if nothing speaks for the class.

    Raises:
        ImageError: If the picture cannot be read.
        ValueError: If there is no such class.
    """
    image = open_picture(picture)
    if label is not None and label not in classifier.class_names:
        known = ", ".join(classifier.class_names)
        raise ValueError(f"There is no class {label!r}. Valid: {known}.")
    prediction = classifier.predict(image)
    index = classifier.class_names.index(label or prediction.label)
    heat = _occlude(classifier, prediction.view, index)
    if heat.max() > 0:
        heat /= heat.max()
    return place_heat_map(heat, prediction.box, (1, 1), image.size)


def place_heat_map(heat, box, scale, size) -> np.ndarray:
    """Lay the heat map of what the network saw where that lies in a picture.

    Args:
        heat: float32 (h, w), of a view, in [0, 1].
        box: (left, top, right, bottom) of the view in the picture, in the picture's pixels.
        scale: Pixels of the map that is wanted over those of the picture, across and down.
        size: (width, height) of the map that is wanted.

    Returns:
        float32 (height, width), in [0, 1]; 0 where the view does not reach.
    """
    left, top, right, bottom = (round(edge * scale[place % 2]) for place, edge in enumerate(box))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = Image.fromarray(heat).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    whole = Image.new("F", size)
    whole.paste(part, (left, top))
    return np.asarray(whole).clip(0, 1)


def _occlude(classifier, crop, index):
    """Return float32 (32, 32): the mean loss of log odds over the patches that cover a pixel."""
    from scipy.ndimage import gaussian_filter  # slow to import, and only needed here

    blurred = np.asarray(Image.fromarray(crop).filter(ImageFilter.GaussianBlur(BLUR)))
    starts = range(STRIDE - PATCH, IMAGE_SIZE, STRIDE)  # patches may reach over the edge
    masks = np.zeros((len(starts) ** 2, IMAGE_SIZE, IMAGE_SIZE, 1), bool)
    for number, (top, left) in enumerate((top, left) for top in starts for left in starts):
        masks[number, max(0, top) : top + PATCH, max(0, left) : left + PATCH] = True
    hidden = np.where(masks, blurred, crop)
    # One view will do: the map is smoothed anyway. The others' sum, and not 1 - p, which is zero
    # in float32 for a network that is very sure.
    probs = classifier.compute_probs(np.concatenate([crop[None], hidden]), "one")
    probs = np.maximum(probs.astype(np.float64), 1e-30)
    odds = np.log(probs[:, index]) - np.log(np.delete(probs, index, axis=1).sum(axis=1))
    loss = (odds[0] - odds[1:]).clip(0)
    covered = masks[..., 0].reshape(len(masks), -1).astype(np.float64)
    heat = (loss @ covered / covered.sum(axis=0)).reshape(IMAGE_SIZE, IMAGE_SIZE)
    return gaussian_filter(heat.astype(np.float32), SMOOTHED)  # the patches' edges mean nothing


def draw_heat_map(picture, heat, side=DRAWN_SIDE) -> Image.Image:
    """Draw a heat map over its picture: what mattered keeps its colours, the rest goes grey.

    Brightness carries it, not hue, so that it reads with any colour vision and in print.

    Args:
        picture: Whatever `pictures.open_picture` takes.
        heat: float (height, width) in [0, 1], as `compute_heat_map` returns it.
        side: Longest side of the result, in pixels; the picture is not enlarged.

    Returns:
        An RGB image.
    """
    image = open_picture(picture)
    scale = min(1.0, side / max(image.size))
    size = tuple(max(1, round(edge * scale)) for edge in image.size)
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    heat = Image.fromarray(np.asarray(heat, np.float32)).resize(size, Image.Resampling.BILINEAR)
    grey = image.convert("L").point(lambda value: value * DIMMED).convert("RGB")
    mask = np.sqrt(np.asarray(heat).clip(0, 1))  # else all but the peak would look the same
    return Image.composite(image, grey, Image.fromarray(np.uint8(mask * 255)))
