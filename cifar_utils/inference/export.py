"""Trained networks as files for other programs: uint8 images in, probabilities out. Needs Keras.

What is written is read again in a process of its own, without TensorFlow where the format allows,
and compared with the network, before it takes its name. That process is

    python -m cifar_utils.inference.export MODEL FORMAT IMAGES.npy PROBS.npz
"""

import contextlib
import dataclasses
import importlib.util
import io
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from cifar_utils.backend import hold_back
from cifar_utils.data.preprocessing import IMAGE_SIZE, scale_images
from cifar_utils.errors import CifarError, ModelError, ParameterError
from cifar_utils.evaluation.calibration import fit_calibration
from cifar_utils.evaluation.scenes import make_scenes
from cifar_utils.evaluation.tta import VIEWS
from cifar_utils.inference.classifier import READ_AHEAD, Classifier
from cifar_utils.inference.engines import ENGINES, open_engine, to_input
from cifar_utils.inference.sources import (
    CALIBRATION_FILE,
    KERAS_SUFFIX,
    PHOTO,
    SAVED_MODEL,
    ModelSource,
    find_model,
    find_reason,
    load_keras_model,
)
from cifar_utils.paths import atomic_path, relative_to_project
from cifar_utils.runs.machine import count_cores

# What each format's file is called; a SavedModel is a folder.
SUFFIXES = {"keras": ".keras", "h5": ".h5", "tflite": ".tflite", "onnx": ".onnx", "savedmodel": ""}
WITHOUT_TENSORFLOW = ("tflite", "onnx")
CONVERTER_NOISE = re.compile(rb"tf_tfl_flatbuffer_helpers|^I0000|^WARNING: All log messages")
NEEDS_ONNX = (
    "The onnx format needs tf2onnx, onnx and onnxruntime. Run: pip install 'cifar-notebooks[onnx]'"
    " (in a checkout: pip install -e '.[onnx]')."
)
TOLERANCE = 1e-3  # of a probability
CHECKED_IMAGES = 1000
SCENES = 1000  # at most, for the calibration of photos; a few seconds
# Of confident predictions for scenes. Chosen on scenes and on images of none of the classes: at
# 95 % three times as many of these get a confident one, at 98 % a third fewer scenes do.
PHOTO_TARGET = 0.97
LEAST_FOR_CALIBRATION = 100  # held-out images; fewer say nothing about one prediction in fifty


# ---------- what notebook 03 saves --------------------------------------------------------------


def save_for_classifier(run, model, val_images, val_labels):
    """Save a trained network as everything that uses it needs it.

    Args:
        run: A `runs.Run`.
        model: The trained `keras.Model`, made of Keras's own layers, from images in [0, 1].
        val_images: uint8 (n, 32, 32, 3), the images that were held out; n may be 0.
        val_labels: Integer (n,), their classes.

    Returns:
        The paths: `model.keras`, the original's `model1.h5`, with TensorFlow the exported
        `model.tflite` that the classifier runs, and with enough images held out the
        `classifier.json` that says when it is not confident.
    """
    paths = [run.path("model.keras"), run.path("model1.h5")]
    for path in paths:
        with atomic_path(path) as temporary:
            save_quietly(model, temporary)
    try:
        paths += _prepare_classifier(run, model, val_images, val_labels)
    except CifarError as error:  # the training is not lost over it
        print(f"The network is saved, but not prepared for the classifier. {error}")
    return paths


def _prepare_classifier(run, model, val_images, val_labels):
    """Export a network, and fit its calibration; returns the paths."""
    from cifar_utils.backend import keras

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
    """Fit temperature and threshold for every kind of views, and for photos.

    Args:
        engine: An `engines.Engine` of a network of ours.
        images: uint8 (n, 32, 32, 3) that the network was not trained on.
        labels: Integer (n,), their classes.
        scenes: How many scenes to make of them, at most.

    Returns:
        A dict from a key of `tta.VIEWS` or `PHOTO` to a `calibration.Calibration`.
    """
    fitted = {}
    for kind in VIEWS:  # "one" first: where it is confident, `mirrored` asks no second time
        probs = make_classifier(engine, fitted).compute_probs(images, kind)
        fitted[kind] = fit_calibration(labels, probs)
    chosen = answer_scenes(make_classifier(engine, fitted), images, scenes, seed=0)
    return fitted | {PHOTO: fit_calibration(labels[: len(chosen)], chosen, PHOTO_TARGET)}


def make_classifier(engine, calibration):
    """Return a `Classifier` of an engine and what was fitted for it so far."""
    source = ModelSource(Path(CALIBRATION_FILE), {}, "fitting", calibration=calibration)
    return Classifier(engine, source)


def answer_scenes(classifier, images, count, seed):
    """Classify scenes of images; float (n, 10), before `photo_calibration`."""
    parts, scenes = [], make_scenes(images, count, seed)
    while part := list(itertools.islice(scenes, READ_AHEAD)):
        parts.append(classifier.answer_prepared([classifier.prepare(scene) for scene in part])[0])
    return np.concatenate(parts)


# ---------- the command -------------------------------------------------------------------------


def export(name, kind, path=None):
    """Export a run's network, shipped weights or a Keras file, checked on 1,000 test images.

    Args:
        name: Whatever `sources.find_model` takes.
        kind: A key of `SUFFIXES`.
        path: Where to write; None takes `exports/` in the run's folder, or for others the current
            folder. Outside of a run's `exports/`, nothing of that name may exist yet.

    Returns:
        What `export_model` returns; for a run also written to its `exports/exports.json`.

    Raises:
        ParameterError: If there is no such format, or the named file exists.
        RunError: If the run has no weights.
        ModelError: If there is no such model.
    """
    _check_kind(kind)
    source = find_model(name)
    if KERAS_SUFFIX not in source.files:
        raise ModelError(
            f"{source.path} is an export already. Name its run, shipped weights or a Keras file."
        )
    run = None
    if source.run_dir and source.named == source.run_dir:  # a file of the run is a file like others
        from cifar_utils.runs.run import Run

        run = Run(source.run_dir)
    if not path and not run:
        stem = source.recipe if source.shipped else source.path.stem
        path = f"{stem}{SUFFIXES[kind] or '-savedmodel'}"
    if path and Path(path).exists():
        raise ParameterError(
            f"{path} exists already. Take another name (--output), or remove it first."
        )
    path = Path(path or run.path(f"exports/{run.name}{SUFFIXES[kind]}"))
    from cifar_utils.data import load_dataset

    images = (run.dataset if run else load_dataset()).test_images[:CHECKED_IMAGES]
    report = export_model(load_keras_model(source.files[KERAS_SUFFIX]), path, kind, images)
    if run:
        known = run.read_json("exports/exports.json")
        written = {kind: report | {"path": relative_to_project(path)}}
        run.write_json("exports/exports.json", known | written)
    return report


def describe_export(report):
    """Return one line on an export for a person."""
    alone = "without TensorFlow" if report["without_tensorflow"] else "with TensorFlow"
    return (
        f"{report['path']}: {report['bytes'] / 1e6:.1f} MB, read again {alone}; its probabilities"
        f" for {report['images']:,} images differ from the network's by at most"
        f" {report['largest_difference']:.1g}."
    )


def export_model(model, path, kind, images, half=False):
    """Write a network as a file for other programs, and check it before it takes its name.

    Args:
        model: A `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to probabilities.
        path: Where to write; an older file or folder of that name is replaced at the end.
        kind: A key of `SUFFIXES`.
        images: uint8 (n, 32, 32, 3), to compare the two on.
        half: See `write_model`.

    Returns:
        `{"format", "path", "bytes", "largest_difference", "images", "without_tensorflow"}`.

    Raises:
        ParameterError: If there is no such format.
        ModelError: If it cannot be written, or its outputs differ by more than `TOLERANCE`.
    """
    _check_kind(kind)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    expected = _predict(model, images)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        written = Path(folder, f"model{SUFFIXES[kind]}")
        write_model(model, written, kind, half)
        found = read_in_own_process(written, kind, images)
        difference = float(np.abs(found["probs"] - expected).max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"The exported {kind} file differs from the network, by up to {difference:.2g} in"
                f" probability; at most {TOLERANCE:g} was expected. Nothing was written. Try"
                " another format."
            )
        size = sum(part.stat().st_size for part in (written, *written.rglob("*")) if part.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(written, path)
    return {
        "format": kind,
        "path": str(path),
        "bytes": size,
        "largest_difference": difference,
        "images": len(images),
        "without_tensorflow": not found["tensorflow"],
    }


def _check_kind(kind):
    """Refuse, by ParameterError, a format that there is not."""
    if kind not in SUFFIXES:
        raise ParameterError(f"There is no format {kind!r}. Valid: {', '.join(SUFFIXES)}.")


def _predict(model, images):
    """Return a Keras network's own probabilities for uint8 images."""
    takes_bytes = str(model.inputs[0].dtype) == "uint8"
    parts = [images[i : i + 250] for i in range(0, len(images), 250)]
    return np.concatenate(
        [model.predict_on_batch(part if takes_bytes else scale_images(part)) for part in parts]
    )


def read_in_own_process(path, kind, images):
    """Read an exported file in a fresh process, and let it predict.

    Args:
        path: The file or folder.
        kind: A key of `SUFFIXES`.
        images: uint8 (n, 32, 32, 3).

    Returns:
        `{"probs": float32 (n, k), "tensorflow": whether the process imported TensorFlow}`.

    Raises:
        ModelError: If the process fails; its last words are in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "images.npy"), Path(folder, "probs.npz")
        np.save(asked, images)
        command = [sys.executable, "-m", "cifar_utils.inference.export", str(path), kind]
        done = subprocess.run([*command, asked, answered], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(
                f"The exported {kind} file cannot be read again: {last[:300]} Nothing was written;"
                " 'python -m cifar_utils doctor' says what this machine lacks."
            )
        with np.load(answered) as saved:
            return {"probs": saved["probs"], "tensorflow": bool(saved["tensorflow"])}


def _read_and_predict(path, kind, images, answers):
    """Do what the process of its own does: write probabilities, and whether TensorFlow was used."""
    suffix = {"h5": KERAS_SUFFIX, "savedmodel": SAVED_MODEL}.get(kind, SUFFIXES[kind])
    engine = next(engine for engine in ENGINES if engine.suffix == suffix)(Path(path))
    probs = engine.run(to_input(engine, np.load(images)))
    np.savez(answers, probs=probs, tensorflow="tensorflow" in sys.modules)


# ---------- conversion --------------------------------------------------------------------------


def make_exportable(model, with_erf=False):
    """Give a network an input of bytes: uint8 images in, the scaling inside.

    Args:
        model: From float32 images (n, 32, 32, 3) in [0, 1] to probabilities. One that takes uint8
            already is returned as it is.
        with_erf: Whether to compute GELUs by way of erf. Keras uses erfc, which ONNX does not have;
            the two differ by rounding.

    Returns:
        A `keras.Model` from uint8 images (n, 32, 32, 3) to probabilities.
    """
    from cifar_utils.backend import keras

    class ErfGelu(keras.layers.Layer):
        """The exact GELU, x Φ(x), elementwise."""

        def call(self, inputs):
            return 0.5 * inputs * (1.0 + keras.ops.erf(inputs * np.float32(np.sqrt(0.5))))

    def exchange(layer):
        is_gelu = getattr(getattr(layer, "activation", None), "__name__", "") == "gelu"
        if is_gelu and isinstance(layer, keras.layers.Activation):
            return ErfGelu(name=layer.name)
        if isinstance(layer, keras.Sequential | keras.Model):
            return keras.models.clone_model(layer, clone_function=exchange)
        return type(layer).from_config(layer.get_config())

    if with_erf:
        clone = keras.models.clone_model(model, clone_function=exchange)
        clone.set_weights(model.get_weights())
        model = clone
    if str(model.inputs[0].dtype) == "uint8":
        return model
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="scaling")(images)
    return keras.Model(images, model(scaled), name=f"{model.name}_of_bytes")


def write_model(model, path, kind, half=False):
    """Write a network in one of the formats of `SUFFIXES`, without checking it.

    Args:
        model: From float32 images in [0, 1], or uint8 images, to probabilities.
        path: The file, or for a SavedModel the folder. It must not exist.
        kind: A key of `SUFFIXES`.
        half: Whether to store the weights of a `.tflite` in float16; it computes in float32.

    Raises:
        ModelError: If the exporter is not installed or cannot express the network, or a weight is
            not finite.
    """
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        # Said here, since LiteRT may hide it: its arithmetic clamps NaN away.
        raise ModelError(
            "The network's weights are not finite: its training diverged. Train again, with a"
            " smaller learning_rate."
        )
    whole = make_exportable(model, with_erf=kind in WITHOUT_TENSORFLOW)
    if kind == "onnx" and not can_write_onnx():
        raise ModelError(NEEDS_ONNX)
    try:
        with warnings.catch_warnings(), hold_back(CONVERTER_NOISE), _without_info():
            warnings.simplefilter("ignore", FutureWarning)  # tf2onnx and NumPy 2: not to us
            if kind == "tflite":
                Path(path).write_bytes(_convert_to_tflite(whole, half))
            elif kind == "onnx":
                whole(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))  # or Keras refuses
                whole.export(path, format="onnx", verbose=False)
            elif kind == "savedmodel":
                whole.export(path, format="tf_saved_model", verbose=False)
            else:
                save_quietly(whole, path)
    except ModelError:
        raise
    except Exception as error:  # each converter has its own
        raise ModelError(
            f"The network cannot be exported as {kind}: {find_reason(error)} Try another format,"
            " or other versions of Keras and TensorFlow (see constraints.txt)."
        ) from error


def can_write_onnx():
    """Return whether everything that the onnx format needs is installed."""
    return all(importlib.util.find_spec(name) for name in ("tf2onnx", "onnx", "onnxruntime"))


def _convert_to_tflite(model, half):
    """Return the bytes of a `.tflite` made of built-in operations only."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        # By way of a file: converted in memory, the weights would stay variables and be lost.
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # Others would need TensorFlow to run.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


@contextlib.contextmanager
def _without_info():
    """Keep TensorFlow, and Keras 3.8 whatever `verbose` says, from naming their temporary files."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def save_quietly(model, path):
    """Save a Keras model as `.keras` or `.h5`, without Keras's advice against HDF5.

    Here HDF5 is written on purpose: it is the original's format.
    """
    from absl import logging as absl_logging

    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        model.save(path)
    finally:
        absl_logging.set_verbosity(verbosity)


if __name__ == "__main__":
    _read_and_predict(*sys.argv[1:])
