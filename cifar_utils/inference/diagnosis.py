"""Why an answer may be wrong: the same picture turned and cut in other ways, and what is like it.

Each part is a list of tiles, `(image, caption)`, for whatever draws them.
"""

from dataclasses import dataclass

from PIL import Image

from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.inference.crops import choose_boxes, cut_out
from cifar_utils.inference.images import open_picture

TILE_SIDE = 96  # pixels
TURNS = (
    ("as it is", None),
    ("turned left", Image.Transpose.ROTATE_90),
    ("upside down", Image.Transpose.ROTATE_180),
    ("turned right", Image.Transpose.ROTATE_270),
    ("mirrored", Image.Transpose.FLIP_LEFT_RIGHT),
)
CROPS = ("the middle", "top left", "top right", "bottom left", "bottom right")  # as `choose_boxes`


@dataclass(frozen=True)
class Diagnosis:
    """What was tried with a picture.

    Attributes:
        turns, crops, nearest: Lists of `(RGB image, caption)`; `nearest` is empty where the data
            are not at hand.
        hints: Sentences on what stands out, the most telling first; may be empty.
    """

    turns: list
    crops: list
    nearest: list
    hints: list[str]


def diagnose(classifier, picture, prediction, nearest=()) -> Diagnosis:
    """Try a picture in other ways.

    Args:
        classifier: An `inference.Classifier`.
        picture: Whatever `pictures.open_picture` takes.
        prediction: What the classifier said about it.
        nearest: Pairs `(image, class name)` of alike training images, uint8 (32, 32, 3).

    Returns:
        A `Diagnosis`.

    Raises:
        ImageError: If the picture cannot be read.
    """
    image = open_picture(picture)
    small = image.copy()
    small.thumbnail((TILE_SIDE, TILE_SIDE))
    turned = [
        (name, classifier.predict(image if turn is None else image.transpose(turn)), turn)
        for name, turn in TURNS
    ]
    boxes = choose_boxes(*image.size)
    answers = [classifier.predict_box(image, box) for box in boxes]
    cuts = cut_out(image, boxes, TILE_SIDE)
    named = list(zip(CROPS, answers, strict=False))
    return Diagnosis(
        turns=[
            (small if turn is None else small.transpose(turn), f"{name}: {_answer(said)}")
            for name, said, turn in turned
        ],
        crops=[
            (Image.fromarray(cut), f"{name}: {_answer(said)}")
            for cut, (name, said) in zip(cuts, named, strict=True)
        ],
        nearest=[(Image.fromarray(near), label) for near, label in nearest],
        hints=_find_hints(turned, named, prediction, nearest),
    )


def _answer(prediction):
    """Say an answer in a few words."""
    return f"{prediction.label} {prediction.confidence:.0%}"


def _find_hints(turned, crops, prediction, nearest):
    """Return sentences on what speaks against the answer."""
    hints = []
    best, said, _ = max(turned[1:4], key=lambda row: row[1].confidence)
    if said.label != prediction.label and said.confidence > prediction.confidence:
        hints.append(f"It may lie on its side: {best}, the network is surer, of {_answer(said)}.")
    others = sorted({said.label for _, said in crops} - {prediction.label})
    if others:
        hints.append(
            f"The crops disagree: parts of the picture are taken for {', '.join(others)}. Move the"
            " crop so that it holds the whole object and little else."
        )
    if turned[-1][1].label != prediction.label:
        hints.append(f"Mirrored, the answer is {_answer(turned[-1][1])}: the network is guessing.")
    labels = [label for _, label in nearest]
    if labels and prediction.label in labels:
        same = labels.count(prediction.label)
        hints.append(
            f"{same} of the {len(labels)} training images that look most alike"
            f" {'is' if same == 1 else 'are'} of the class {prediction.label}: colours and large"
            " shapes alone may have led there."
        )
    return hints


def describe_detail(size, box) -> str:
    """Say how much smaller the network's view is than the picture.

    Args:
        size: (width, height) of the picture, in pixels.
        box: Where the view lies in it: (left, top, right, bottom).
    """
    side = max(box[2] - box[0], box[3] - box[1])
    text = (
        f"Of {size[0]} x {size[1]} pixels, a square of {side} became {IMAGE_SIZE} x {IMAGE_SIZE}."
    )
    factor = side / IMAGE_SIZE
    if factor < 1.5:
        return text
    return f"{text} Whatever is finer than {factor:.0f} pixels of the picture is gone."
