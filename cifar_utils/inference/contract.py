"""What a network takes and gives: read from its file where that says it, else probed.

A file from elsewhere may expect pixels from 0 to 255, 0 to 1 or -1 to 1, and may give
probabilities or logits. Fed with the wrong pixels, it gives wrong predictions without any error.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_utils.data import CLASS_NAMES
from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.errors import ModelError, ParameterError
from cifar_utils.inference.engines import INPUT_SCALES, read_quantisation, to_input
from cifar_utils.inference.sources import find_reason

# 19 drawings, two of each class but one of a horse, and four crops of the sample cat. Both shipped
# networks classify all of them correctly; no pixel of CIFAR-10 is among them.
THUMBNAILS = Path(__file__).with_name("samples") / "thumbnails.png"
THUMBNAIL_LABELS = np.array([*np.repeat(np.arange(10), 2)[:15], 8, 8, 9, 9, 3, 3, 3, 3])
# Between the scores of two scales; with less, the probe has not told them apart. Right and wrong
# scales of seven networks with 49 to 94 % test accuracy differed by 0.5 to 5.
CLEAR_MARGIN = 0.25


@dataclass(frozen=True)
class Contract:
    """How uint8 images become a network's inputs, and its outputs probabilities.

    Attributes:
        scale: One of `INPUT_SCALES`: what the pixels are scaled to.
        logits: Whether the outputs are logits, so that a softmax is applied.
        text: Sentences for people on what was found, and how; empty for networks of ours.
    """

    scale: str = "0..1"
    logits: bool = False
    text: str = ""

    def compute_probs(self, engine, images):
        """Return the network's probabilities, float32 (n, 10), for uint8 images (n, 32, 32, 3)."""
        if not len(images):
            return np.empty((0, len(CLASS_NAMES)), np.float32)
        outputs = engine.run(to_input(engine, images, self.scale))
        return _apply_softmax(outputs) if self.logits else outputs


def find_contract(engine, source, input_scale=None) -> Contract:
    """Find out what a network takes and gives.

    Args:
        engine: An `engines.Engine`.
        source: The `sources.ModelSource` that it was opened from. Runs and shipped weights are
            known to take 0..1 or bytes.
        input_scale: One of `INPUT_SCALES`, where the user says it; None finds it out.

    Returns:
        A `Contract`.

    Raises:
        ParameterError: If there is no such scale.
        ModelError: If the network does not take images of 32x32 or does not give ten numbers that
            are probabilities or logits.
    """
    if input_scale is not None and input_scale not in INPUT_SCALES:
        raise ParameterError(
            f"There is no input_scale {input_scale!r}. Valid: {', '.join(INPUT_SCALES)}."
        )
    check_shapes(engine, source.path)
    check_input_type(engine, source.path)
    scale, why = _choose_scale(engine, source, input_scale)
    outputs = _try(engine, source, scale)
    logits = check_outputs(outputs, source)
    if not source.foreign:
        return Contract(scale)
    text = f"It takes RGB {scale}: {why}."
    if logits:
        text += " Its outputs are taken for logits: a softmax is applied."
    predicted = set(outputs.argmax(axis=1))
    if len(predicted) == 1:
        text += (
            f" WARNING: it predicts {CLASS_NAMES[predicted.pop()]} for each of"
            f" {len(outputs)} different images. Try another input_scale, or train it again."
        )
    return Contract(scale, logits, text)


def _choose_scale(engine, source, input_scale):
    """Return one of `INPUT_SCALES` and why: as given, known, read from the network, or probed."""
    if engine.input_type == np.uint8 and not engine.quantisation:
        return "0..255", "its inputs are bytes"
    if input_scale:
        return input_scale, "as input_scale says"
    if not source.foreign:
        return "0..1", "as all runs do"
    read = read_quantisation(engine) if engine.quantisation else engine.found_scale
    if read:
        return read[0], f"{read[1]}; input_scale overrides it"
    scores = {scale: score_probs(_try(engine, source, scale)) for scale in INPUT_SCALES}
    best = max(scores, key=scores.get)
    told = "its predictions for 46 bundled images suit that best"
    if best != "0..1" and scores[best] < scores["0..1"] + CLEAR_MARGIN:
        best, told = "0..1", "its predictions for 46 bundled images do not tell, so as the original"
    numbers = ", ".join(f"{scale} {score:.2f}" for scale, score in scores.items())
    return best, f"its file does not say it; {told} (scores: {numbers}); input_scale overrides it"


def read_thumbnails():
    """Return images that a network can be tried on: uint8 (46, 32, 32, 3) and labels (46,)."""
    with Image.open(THUMBNAILS) as strip:
        images = np.stack(np.split(np.asarray(strip.convert("RGB")), strip.width // 32, axis=1))
    # Mirrored images are as easy, and make the average steadier.
    return np.concatenate([images, images[:, :, ::-1]]), np.tile(THUMBNAIL_LABELS, 2)


def score_probs(outputs):
    """Score how well a network's outputs for the thumbnails suit a network that was trained.

    The mean log probability of the right class says whether they are correct. The mutual
    information of image and prediction says whether they are confident and varied: it is zero for
    a constant prediction, which the first part alone would prefer to a weak network's.

    Args:
        outputs: (46, 10), probabilities or logits for `read_thumbnails()`.

    Returns:
        A number, higher for the better; minus infinity for outputs that are not finite.
    """
    if not np.isfinite(outputs).all():  # 255 is more than some networks can take
        return -np.inf
    probs = _apply_softmax(outputs) if _are_logits(outputs) else outputs
    probs = np.clip(probs, 1e-3, 1).astype(np.float64)
    _, labels = read_thumbnails()
    right = np.log(probs[np.arange(len(labels)), labels]).mean()
    entropies = [-(p * np.log(p)).sum(axis=-1).mean() for p in (probs.mean(axis=0), probs)]
    return right + entropies[0] - entropies[1]


def _try(engine, source, scale):
    """Return the outputs for the thumbnails, or for fewer images where nothing is probed."""
    images, _ = read_thumbnails()
    try:
        outputs = engine.run(to_input(engine, images if source.foreign else images[::15], scale))
    except Exception as error:  # each library has its own
        raise ModelError(
            f"{source.path.name} cannot predict for images (n, 32, 32, 3), n from one on:"
            f" {find_reason(error)} Export it again with 'python -m cifar_utils export'."
        ) from error
    if outputs.shape[1:] != (len(CLASS_NAMES),):
        raise ModelError(_word_shapes(source.path, "gives", outputs.shape[1:], (len(CLASS_NAMES),)))
    return outputs


# ---------- checks ------------------------------------------------------------------------------


def check_shapes(engine, path):
    """Refuse, by ModelError, a network that does not take 32×32×3 or does not give ten outputs."""
    taken, given = engine.shapes
    squares = ((IMAGE_SIZE, IMAGE_SIZE, 3), (3, IMAGE_SIZE, IMAGE_SIZE))  # the channels last, first
    if not any(_fits(taken, shape) for shape in squares):
        raise ModelError(_word_shapes(path, "takes", taken, squares[0]))
    if not _fits(given, (len(CLASS_NAMES),)) and given != (None,):
        raise ModelError(_word_shapes(path, "gives", given, (len(CLASS_NAMES),)))


def _fits(found, wanted):
    """Return whether a shape, whose sides may be None for any length, allows another."""
    return len(found) == len(wanted) and all(
        side in (None, needed) for side, needed in zip(found, wanted, strict=True)
    )


def _word_shapes(path, what, found, wanted):
    return (
        f"{path.name} does not fit: per image it {what} {tuple(found) or 'nothing known'},"
        f" expected is {wanted}. The classifier needs RGB images of 32x32 in and one probability"
        f" for each of CIFAR-10's {len(CLASS_NAMES)} classes out; choose another model."
    )


def check_input_type(engine, path):
    """Refuse, by ModelError, a network whose inputs are neither bytes nor floats."""
    if not engine.quantisation and engine.input_type not in (
        np.uint8, np.float16, np.float32, np.float64,
    ):  # fmt: skip
        raise ModelError(
            f"{path.name} does not fit: it takes {engine.input_type}, and expected is uint8 or"
            " float32. Export it again with 'python -m cifar_utils export'."
        )


def check_outputs(outputs, source):
    """Return whether outputs are logits; refuse what is neither logits nor probabilities.

    Args:
        outputs: (n, 10), of some images.
        source: The network's `sources.ModelSource`. A run's network gives probabilities.

    Raises:
        ModelError: If a number is not finite, since training diverged, or a row is no distribution.
    """
    if not np.isfinite(outputs).all():
        raise ModelError(
            f"{source.path.name} gives NaN: its training diverged. Train again, with a smaller "
            "learning_rate."
        )
    if outputs.min() >= -1e-3 and np.abs(outputs.sum(axis=1) - 1).max() <= 1e-2:
        return False
    if source.foreign and _are_logits(outputs):
        return True
    raise ModelError(
        f"{source.path.name} does not give probabilities (a first row: "
        f"{np.round(outputs[0], 2).tolist()}). End the model with a softmax and save it again."
    )


def _are_logits(outputs):
    """Return whether numbers leave the range of probabilities."""
    return outputs.min() < -1e-3 or outputs.max() > 1 + 1e-3


def _apply_softmax(logits):
    """Return probabilities, float32 (n, 10)."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
