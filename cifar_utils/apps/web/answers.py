"""Pictures in, answers out: the same rows for the API's JSON and the page's HTML."""

import base64
import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cifar_utils.apps.web.images_folder import MissingError
from cifar_utils.apps.web.limits import DEFAULT_TOP, MAX_TOP, SHOWN_SIDE
from cifar_utils.apps.web.reading import read_picture
from cifar_utils.apps.web.uploads import RequestError
from cifar_utils.errors import ImageError
from cifar_utils.inference.explain import compute_heat_map, draw_heat_map, place_heat_map
from cifar_utils.inference.images import MAX_BYTES

HEAT_BATCH = 6  # images; the crops of a photograph need a batch of this size anyway
TRUE, FALSE = ("1", "true"), ("0", "false")


@dataclass(frozen=True)
class Options:
    """What an answer should hold beside the classes.

    Attributes:
        top: How many classes, from 1 to 10.
        heat_map: Whether to draw which regions drove the answer; takes about 50 times as long.
        picture: Whether to return the picture itself, upright and at most `SHOWN_SIDE` pixels.
    """

    top: int = DEFAULT_TOP
    heat_map: bool = False
    picture: bool = False


def read_options(query) -> Options:
    """Read the options of a query string.

    Args:
        query: A mapping of text: `top`, `heat_map`, `picture`.

    Raises:
        RequestError: If one is not what it may be.
    """
    top = query.get("top", str(DEFAULT_TOP))
    if not (top.isascii() and top.isdecimal() and len(top) < 4 and 1 <= int(top) <= MAX_TOP):
        raise RequestError(f"'top' is {top!r}; expected: a whole number from 1 to {MAX_TOP}.", 400)
    return Options(int(top), _read_flag(query, "heat_map"), _read_flag(query, "picture"))


def _read_flag(query, name):
    """Read a yes or no of a query string."""
    value = query.get(name, "false")
    if value not in TRUE + FALSE:
        raise RequestError(f"{name!r} is {value!r}; expected: true or false.", 400)
    return value in TRUE


def answer(classifier, upload, options):
    """Classify one picture.

    Args:
        classifier: An `inference.Classifier`.
        upload: An `uploads.Upload`.
        options: `Options`.

    Returns:
        `(row, status)`: a JSON-ready dict as `openapi` describes it, either `Answer` or `Failure`;
        and the HTTP status that belongs to it alone.
    """
    status = 422
    try:
        with upload.open() as data:
            if len(data) > MAX_BYTES:
                status = 413
            reading = read_picture(data, SHOWN_SIDE)
    except MissingError as error:
        return {"name": upload.name, "error": str(error)}, 404
    except ImageError as error:
        return {"name": upload.name, "error": re.sub("^The picture ", "It ", str(error))}, status
    (prediction,) = classifier.predict_prepared([(reading.crops, reading.boxes)])
    row = {"name": upload.name} | prediction.to_dict(upload.name, options.top)
    del row["picture"]
    row["calibrated"] = prediction.calibrated
    row["size"] = list(reading.size)
    row["box"] = list(prediction.box)
    row["view"] = to_data_url(Image.fromarray(prediction.view), "PNG")
    if options.picture:
        row["picture"] = to_data_url(reading.small, "JPEG")
    if options.heat_map:
        heat = compute_heat(classifier, prediction, reading)
        row["heat_map"] = to_data_url(draw_heat_map(reading.small, heat, SHOWN_SIDE), "JPEG")
    return row, 200


def choose_status(statuses) -> int:
    """Return the HTTP status of several answers: 200 if one picture at least was read.

    Where none was: 413 if all were too large, 404 if all were names that the folder does not have,
    else 422.
    """
    if 200 in statuses:
        return 200
    return statuses[0] if len(set(statuses)) == 1 else 422


def compute_heat(classifier, prediction, reading) -> np.ndarray:
    """Compute the heat map of the small picture.

    It is computed on what the network saw, and laid where that lies in the picture: the map of
    `explain.compute_heat_map`, without floats for all pixels of a large picture.

    Args:
        classifier: The `inference.Classifier` that made the prediction.
        prediction: Its `inference.Prediction`.
        reading: The picture's `reading.Reading`.

    Returns:
        float32 (height, width) of `reading.small`, in [0, 1].
    """
    heat = compute_heat_map(SmallBatches(classifier), prediction.view, prediction.label)
    small = reading.small
    scale = small.width / reading.size[0], small.height / reading.size[1]
    return place_heat_map(heat, prediction.box, scale, small.size)


class SmallBatches:
    """A classifier that is asked about a few images at a time.

    LiteRT keeps the memory of the largest batch that it ever saw: 60 MB for a heat map's.
    """

    def __init__(self, classifier):
        self._classifier = classifier

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def compute_probs(self, images, kind):
        """Compute what `Classifier.compute_probs` does."""
        parts = [images[i : i + HEAT_BATCH] for i in range(0, len(images), HEAT_BATCH)]
        return np.concatenate([self._classifier.compute_probs(part, kind) for part in parts])


def to_data_url(image, kind) -> str:
    """Return an image as a `data:` URL, base64 of a PNG or JPEG file."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encode(image, kind)).decode()}"


def encode(image, kind) -> bytes:
    """Return an RGB image as the bytes of a PNG or JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return buffer.getvalue()
