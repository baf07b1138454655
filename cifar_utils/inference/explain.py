"""Why a prediction came out as it did: which regions drove it, and what other views would give."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.inference.crops import choose_boxes, cut_out
from cifar_utils.inference.images import open_picture
from cifar_utils.text import suggest

PATCH, STRIDE = 10, 5  # pixels of the 32: about a tenth of the view is hidden at a time
BLUR = 6  # pixels; no edge of 32 survives it
SMOOTHED = 1.5  # pixels
DRAWN_SIDE = 512  # pixels; enough to look at
DIMMED = 0.45  # brightness of what did not matter
TILE_SIDE = 96  # pixels
TURNS = (
    ("as it is", None),
    ("turned left", Image.Transpose.ROTATE_90),
    ("upside down", Image.Transpose.ROTATE_180),
    ("turned right", Image.Transpose.ROTATE_270),
    ("mirrored", Image.Transpose.FLIP_LEFT_RIGHT),
)
CROPS = ("the middle", "top left", "top right", "bottom left", "bottom right")  # as `choose_boxes`


def compute_heat_map(classifier, picture, label=None) -> np.ndarray:
    """Compute how much each region of an image speaks for a class.

    By occlusion, which works with any network: a patch of the network's input is blurred away, at
    every place in turn. Where the class loses most of its odds, the prediction came from (Zeiler &
    Fergus, ECCV 2014, section 4.1; they used grey patches, which are shapes of their own).

    Args:
        classifier: A `Classifier`.
        picture: Whatever `images.open_picture` takes.
        label: One of the classifier's classes; None takes the most probable one.

    Returns:
        float32 (height, width) of the image: 1 where hiding a patch costs the class most, 0
        where hiding it costs nothing or helps or where the deciding crop does not reach, and 0
        everywhere if nothing speaks for the class.
    """
    image = open_picture(picture)
    if label is not None and label not in classifier.class_names:
        raise ValueError(f"There is no class {label!r}. {suggest(label, classifier.class_names)}")
    prediction = classifier.predict(image)
    index = classifier.class_names.index(label or prediction.label)
    heat = _occlude(classifier, prediction.view, index)
    heat /= heat.max() or 1
    return place_heat_map(heat, prediction.box, (1, 1), image.size)


def place_heat_map(heat, box, scale, size) -> np.ndarray:
    """Place the heat map of a view, float32 in [0, 1], where that view is in its image.

    Args:
        heat: float32 (h, w).
        box: (left, top, right, bottom) of the view in the image, in the image's pixels.
        scale: Pixels of the map that is wanted over those of the image, across and down.
        size: (width, height) of the map that is wanted.
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
    # in float32 for a network that is very confident.
    probs = classifier.compute_probs(np.concatenate([crop[None], hidden]), "one")
    probs = np.maximum(probs.astype(np.float64), 1e-30)
    odds = np.log(probs[:, index]) - np.log(np.delete(probs, index, axis=1).sum(axis=1))
    loss = (odds[0] - odds[1:]).clip(0)
    covered = masks[..., 0].reshape(len(masks), -1).astype(np.float64)
    heat = (loss @ covered / covered.sum(axis=0)).reshape(IMAGE_SIZE, IMAGE_SIZE)
    return gaussian_filter(heat.astype(np.float32), SMOOTHED)  # the patches' edges mean nothing


def draw_heat_map(picture, heat, side=DRAWN_SIDE) -> Image.Image:
    """Draw a heat map over its image: what mattered keeps its colours, the rest goes dark and grey.

    Brightness carries it, not hue, so that it reads with any colour vision and in print.

    Args:
        picture: Whatever `images.open_picture` takes.
        heat: float (height, width) in [0, 1], as `compute_heat_map` returns it.
        side: Longest side of the result, in pixels; the image is not enlarged.
    """
    image = open_picture(picture)
    scale = min(1.0, side / max(image.size))
    size = tuple(max(1, round(edge * scale)) for edge in image.size)
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    heat = Image.fromarray(np.asarray(heat, np.float32)).resize(size, Image.Resampling.BILINEAR)
    grey = image.convert("L").point(lambda value: value * DIMMED).convert("RGB")
    mask = np.sqrt(np.asarray(heat).clip(0, 1))  # else all but the peak would look the same
    return Image.composite(image, grey, Image.fromarray(np.uint8(mask * 255)))


class Diagnosis(NamedTuple):
    """What was tried with an image: tiles, `(RGB image, caption)`, and sentences on what is odd."""

    turns: list
    crops: list
    nearest: list
    hints: list[str]


def diagnose(classifier, picture, prediction, nearest=()) -> Diagnosis:
    """Turn, mirror and crop an image, and compare the predictions.

    Args:
        classifier: A `Classifier`.
        picture: Whatever `images.open_picture` takes.
        prediction: The classifier's `Prediction` for it.
        nearest: Pairs `(image, class name)` of similar training images, uint8 (32, 32, 3).
    """
    image = open_picture(picture)
    small = image.copy()
    small.thumbnail((TILE_SIDE, TILE_SIDE))
    turned = [
        (name, classifier.predict(image if turn is None else image.transpose(turn)), turn)
        for name, turn in TURNS
    ]
    boxes = choose_boxes(*image.size)
    named = [
        (name, classifier.predict_box(image, box)) for name, box in zip(CROPS, boxes, strict=False)
    ]
    return Diagnosis(
        turns=[
            (small if turn is None else small.transpose(turn), f"{name}: {_word(found)}")
            for name, found, turn in turned
        ],
        crops=[
            (Image.fromarray(cut), f"{name}: {_word(found)}")
            for cut, (name, found) in zip(cut_out(image, boxes, TILE_SIDE), named, strict=True)
        ],
        nearest=[(Image.fromarray(near), label) for near, label in nearest],
        hints=_find_hints(turned, named, prediction, nearest),
    )


def _word(prediction):
    """Name a prediction in a few words."""
    return f"{prediction.label} {prediction.confidence:.0%}"


def _find_hints(turned, crops, prediction, nearest):
    """Return sentences on what speaks against the prediction."""
    hints = []
    best, found, _ = max(turned[1:4], key=lambda row: row[1].confidence)
    if found.label != prediction.label and found.confidence > prediction.confidence:
        hints.append(
            f"It may lie on its side: {best}, the network is more confident, of {_word(found)}."
        )
    others = sorted({found.label for _, found in crops} - {prediction.label})
    if others:
        hints.append(
            f"The crops disagree: parts of the image are taken for {', '.join(others)}. Move the"
            " crop so that it holds the whole object and little else."
        )
    if turned[-1][1].label != prediction.label:
        hints.append(
            f"Mirrored, the prediction is {_word(turned[-1][1])}: the network is guessing."
        )
    same = [label for _, label in nearest].count(prediction.label)
    if same:
        hints.append(
            f"{same} of the {len(nearest)} training images that look most alike"
            f" {'is' if same == 1 else 'are'} of the class {prediction.label}: colours and large"
            " shapes alone may have led there."
        )
    return hints


def describe_detail(size, box) -> str:
    """Say how much smaller the network's input is than an image (width, height) and its box."""
    side = max(box[2] - box[0], box[3] - box[1])
    text = f"Of {size[0]} x {size[1]} pixels, a square of {side} became 32 x 32."
    if side < 1.5 * IMAGE_SIZE:
        return text
    return f"{text} Whatever is finer than {side / IMAGE_SIZE:.0f} pixels of the image is gone."
