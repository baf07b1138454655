"""A run's trained network on disk: saved, exported, calibrated, and loaded again."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.errors import CifarError, RunError
from cifar_utils.evaluation.calibration import fit_calibration
from cifar_utils.evaluation.scenes import make_scenes
from cifar_utils.evaluation.tta import VIEWS
from cifar_utils.inference.classifier import READ_AHEAD, Classifier
from cifar_utils.inference.conversion import save_quietly, write_model
from cifar_utils.inference.engines import open_engine
from cifar_utils.inference.sources import CALIBRATION_FILE, PHOTO, ModelSource, find_model
from cifar_utils.paths import atomic_path
from cifar_utils.runs.machine import count_cores

SCENES = 1000  # at most, for the calibration of photographs; a few seconds
# Of confident answers about scenes. Chosen on scenes and on pictures of none of the classes: at
# 95 % three times as many of these get a confident answer, at 98 % a third fewer scenes do.
PHOTO_TARGET = 0.97
LEAST_FOR_CALIBRATION = 100  # held-out images; fewer say nothing about one answer in fifty


def save_trained(run, model, val_images, val_labels):
    """Save what training has made.

    Args:
        run: A `runs.Run`.
        model: The trained `keras.Model`, made of Keras's own layers.
        val_images: uint8 (n, 32, 32, 3), the images that were held out; n may be 0.
        val_labels: Integer (n,), their classes.

    Returns:
        The paths: `model.keras`, the documented `model1.h5`, with TensorFlow the exported
        `model.tflite` that the classifier runs, and with enough images held out the
        `classifier.json` that says when it is unsure.
    """
    paths = [run.path("model.keras"), run.path("model1.h5")]
    for path in paths:
        with atomic_path(path) as temporary:
            save_quietly(model, temporary)
    try:
        paths += _save_for_classifier(run, model, val_images, val_labels)
    except CifarError as error:  # the training is not lost over it
        print(f"The network is saved, but not prepared for the classifier. {error}")
    return paths


def _save_for_classifier(run, model, val_images, val_labels):
    """Export a network, and fit when it is unsure; returns the paths."""
    paths = []
    if keras.backend.backend() == "tensorflow":  # the converter is TensorFlow's
        paths.append(run.path("model.tflite"))
        with atomic_path(paths[-1]) as temporary:
            write_model(model, temporary, "tflite")
    if len(val_images) >= LEAST_FOR_CALIBRATION:
        engine, _ = open_engine(find_model(run.dir).files, count_cores())
        fitted = fit_calibrations(engine, val_images, val_labels)
        saved = {kind: dataclasses.asdict(one) for kind, one in fitted.items()}
        paths.append(run.write_json(CALIBRATION_FILE, {"calibration": saved}))
    return paths


def fit_calibrations(engine, images, labels, scenes=SCENES):
    """Fit temperature and threshold for every kind of views, and for photographs.

    Args:
        engine: An engine of `engines`.
        images: uint8 (n, 32, 32, 3) that the network has not learnt from.
        labels: Integer (n,), their classes.
        scenes: How many scenes to make of them, at most.

    Returns:
        A dict from a key of `views.VIEWS` or `PHOTO` to a `calibration.Calibration`.
    """
    fitted = {}
    for kind in VIEWS:  # "one" first: what it is sure of, `mirrored` leaves alone
        probs = make_classifier(engine, fitted).compute_probs(images, kind)
        fitted[kind] = fit_calibration(labels, probs)
    chosen = answer_scenes(make_classifier(engine, fitted), images, scenes, seed=0)
    return fitted | {PHOTO: fit_calibration(labels[: len(chosen)], chosen, PHOTO_TARGET)}


def make_classifier(engine, calibration):
    """Return a `Classifier` of an engine and what was fitted for it so far."""
    source = ModelSource(Path(CALIBRATION_FILE), {}, calibration=calibration)
    return Classifier(engine, source)


def answer_scenes(classifier, images, count, seed):
    """Answer scenes of images; float (n, 10), the surest crops', before `photo_calibration`."""
    parts, scenes = [], make_scenes(images, count, seed)
    while part := list(itertools.islice(scenes, READ_AHEAD)):
        parts.append(classifier.answer_prepared([classifier.prepare(scene) for scene in part])[0])
    return np.concatenate(parts)


def load_model(run):
    """Load a run's trained network.

    Raises:
        RunError: If it has none, or it cannot be read with the installed versions.
    """
    path = run.path("model.keras")
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, TypeError) as error:
        if not path.exists():
            raise RunError(
                f"Run {run.name!r} has no model.keras yet. Finish notebook 03 with"
                f" run_name {run.name!r} first."
            ) from None
        raise RunError(
            f"{path} was written with {run.info.get('versions')} and cannot be read with Keras"
            f" {keras.__version__}: {error}. Install those versions, or train again."
        ) from error
