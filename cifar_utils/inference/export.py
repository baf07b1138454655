"""Trained networks as files for other programs: uint8 images in, probabilities out. Needs Keras."""

import contextlib
import dataclasses
import importlib.util
import io
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

from cifar_utils.backend import hold_back, pinned_settings
from cifar_utils.data import CLASS_NAMES, load_dataset
from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.errors import CifarError, ModelError, ParameterError
from cifar_utils.evaluation.calibration import fit_calibration
from cifar_utils.evaluation.scenes import make_scenes
from cifar_utils.evaluation.tta import VIEWS
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.engines import flatten_layers, open_engine
from cifar_utils.inference.sources import (
    CALIBRATION_FILE,
    KERAS_SUFFIX,
    PHOTO,
    ModelSource,
    find_model,
    find_reason,
)
from cifar_utils.paths import atomic_path, relative_to_project
from cifar_utils.runs import Run
from cifar_utils.runs.machine import count_cores

# What each format's file is called; a SavedModel is a folder.
SUFFIXES = {"keras": ".keras", "h5": ".h5", "tflite": ".tflite", "onnx": ".onnx", "savedmodel": ""}
EXPORTER_NOISE = re.compile(rb"tf_tfl_flatbuffer_helpers|^I0000|^WARNING: All log messages")
TOLERANCE = 1e-3  # of a probability
CHECKED_IMAGES = 1000
SCENES = 1000  # at most, for the calibration of photos; a few seconds
# Of confident predictions for scenes. Chosen on scenes and on images of none of the classes: at
# 95 % three times as many of these get a confident one, at 98 % a third fewer scenes do.
PHOTO_TARGET = 0.97
# Enough for a temperature and a threshold, and what `fast` and `accurate` hold out; six views of
# the 5,000 images of `quick` would take longer than the rest of notebook 03 without its training.
MOST_FOR_CALIBRATION = 2_000
LEAST_FOR_CALIBRATION = 100  # held-out images; fewer say nothing about one prediction in fifty
READ_AGAIN = """
import sys, numpy
from cifar_utils.inference.classifier import Classifier
path, images, answers = sys.argv[1:]
probs = Classifier.load(path, "one").compute_probs(numpy.load(images), "one")
numpy.savez(answers, probs=probs, tensorflow="tensorflow" in sys.modules)
"""


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
    from cifar_utils.backend import keras

    paths = [run.path("model.keras"), run.path("model1.h5")]
    for path in paths:
        with atomic_path(path) as temporary, _quietly():
            model.save(temporary)
    try:
        if keras.backend.backend() == "tensorflow":  # the converter is TensorFlow's
            with atomic_path(run.path("model.tflite")) as temporary:
                write_model(model, temporary, "tflite")
            paths.append(run.path("model.tflite"))
        if len(val_images) >= LEAST_FOR_CALIBRATION:
            engine, _ = open_engine(find_model(run.dir).files, count_cores())
            fitted = fit_calibrations(
                engine, val_images[:MOST_FOR_CALIBRATION], val_labels[:MOST_FOR_CALIBRATION]
            )
            saved = {kind: dataclasses.asdict(one) for kind, one in fitted.items()}
            paths.append(run.write_json(CALIBRATION_FILE, {"calibration": saved}))
    except CifarError as error:  # the training is not lost over it
        print(f"The network is saved, but not prepared for the classifier. {error}")
    return paths


def fit_calibrations(engine, images, labels, scenes=SCENES):
    """Fit a `Calibration` on held-out images for every kind of views, and for photos (`PHOTO`)."""
    fitted = {}
    source = ModelSource(Path(), {}, "fitting", calibration=fitted)  # filled below
    for kind in VIEWS:  # "one" first: where it is confident, `mirrored` asks no second time
        probs = Classifier(engine, source).compute_probs(images, kind)
        fitted[kind] = fit_calibration(labels, probs)
    found = Classifier(engine, source).predict_many(make_scenes(images, scenes, seed=0))
    ranked = [dict(zip(one.class_names, one.probs, strict=True)) for one in found]
    probs = np.float32([[by_name[name] for name in CLASS_NAMES] for by_name in ranked])
    return fitted | {PHOTO: fit_calibration(labels[: len(probs)], probs, PHOTO_TARGET)}


def export(name, kind, path=None):
    """Export a run's network, shipped weights or a Keras file, checked on 1,000 test images.

    The file is read again in a process of its own, without TensorFlow where the format allows, and
    compared with the network, before it is renamed.

    Args:
        name: Whatever `sources.find_model` takes.
        kind: A key of `SUFFIXES`.
        path: Where to write; None takes `exports/` in the run's folder, or for others the current
            folder. Outside of a run's `exports/`, nothing of that name may exist yet.

    Returns:
        `{"format", "path", "bytes", "largest_difference", "images", "without_tensorflow"}`; for a
        run also written to its `exports/exports.json`.
    """
    if kind not in SUFFIXES:
        raise ParameterError(f"There is no format {kind!r}. Valid: {', '.join(SUFFIXES)}.")
    source, run = find_model(name), None
    if KERAS_SUFFIX not in source.files:
        raise ModelError(
            f"{source.path} is an export already. Name its run, shipped weights or a Keras file."
        )
    if Path(source.named, "run.json").is_file():  # a file of the run is a file like others
        run = Run(Path(source.named))
    if not path and not run:
        path = f"{source.path.stem}{SUFFIXES[kind] or '-savedmodel'}"
    if path and Path(path).exists():
        raise ParameterError(
            f"{path} exists already. Take another name (--output), or remove it first."
        )
    path = Path(path or run.path(f"exports/{run.name}{SUFFIXES[kind]}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    images = (run.dataset if run else load_dataset()).test_images[:CHECKED_IMAGES]
    engine, _ = open_engine(source.files, count_cores(), "Keras")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        written = Path(folder, f"model{SUFFIXES[kind]}")
        write_model(engine.model, written, kind)
        probs, tensorflow = read_in_own_process(written, images)
        difference = float(np.abs(probs - engine.compute_probs(images)).max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"The exported {kind} file differs from the network, by up to {difference:.2g} in"
                f" probability ({TOLERANCE:g} is allowed). Nothing was written; try another format."
            )
        size = sum(part.stat().st_size for part in (written, *written.rglob("*")) if part.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(written, path)
    report = {"format": kind, "path": str(path), "bytes": size, "images": len(images)}
    report |= {"largest_difference": difference, "without_tensorflow": not tensorflow}
    if run:
        known, shared = run.read_json("exports/exports.json"), {"path": relative_to_project(path)}
        run.write_json("exports/exports.json", known | {kind: report | shared})
    return report


def describe_export(report):
    """Return one line on an export for a person."""
    alone = "without" if report["without_tensorflow"] else "with"
    return (
        f"{report['path']}: {report['bytes'] / 1e6:.1f} MB, read again {alone} TensorFlow; its"
        f" probabilities for {report['images']:,} images differ from the network's by at most"
        f" {report['largest_difference']:.1g}."
    )


def read_in_own_process(path, images):
    """Let a fresh process read a file; return its probabilities and if it imported TensorFlow."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "images.npy"), Path(folder, "probs.npz")
        np.save(asked, images)
        command = [sys.executable, "-c", READ_AGAIN, path, asked, answered]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(
                f"The file cannot be read again, so nothing was written: {last[:300]}"
                " 'python -m cifar_utils doctor' says what this machine lacks."
            )
        with np.load(answered) as saved:
            return saved["probs"], bool(saved["tensorflow"])


def write_model(model, path, kind, half=False):
    """Write a network in one of the formats of `SUFFIXES`, without checking it.

    Args:
        model: A `keras.Model` from float32 images in [0, 1], or uint8 images, to probabilities.
        path: The file, or for a SavedModel the folder.
        kind: A key of `SUFFIXES`.
        half: Whether to store the weights of a `.tflite` in float16; it computes in float32.
    """
    from cifar_utils.backend import keras

    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        # Said here, since LiteRT may hide it: its arithmetic clamps NaN away.
        raise ModelError("The training diverged: train again, with a smaller learning_rate.")
    needed = ("tf2onnx", "onnx", "onnxruntime") if kind == "onnx" else ()
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        raise ModelError(f"{', '.join(missing)} missing: pip install 'cifar-notebooks[onnx]'.")
    try:
        with _quietly(), pinned_settings():
            if str(model.inputs[0].dtype) != "uint8":
                images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8", name="images")
                scaled = keras.layers.Rescaling(1 / 255, dtype="float32", name="scaling")(images)
                model = keras.Model(images, model(scaled), name=f"{model.name}_of_bytes")
            if kind == "tflite":
                with _erf_gelus(model):
                    Path(path).write_bytes(_convert_to_tflite(model, half))
            elif kind == "onnx":
                with _erf_gelus(model):
                    model(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8))  # or Keras refuses
                    model.export(path, format="onnx", verbose=False)
            elif kind == "savedmodel":
                model.export(path, format="tf_saved_model", verbose=False)
            else:
                model.save(path)
    except Exception as error:  # each exporter has its own
        raise ModelError(
            f"The network cannot be exported as {kind}: {find_reason(error)} Try another format,"
            " or other versions of Keras and TensorFlow (see constraints.txt)."
        ) from error


@contextlib.contextmanager
def _erf_gelus(model):
    """Let a network compute its exact GELUs by erf inside: Keras uses erfc, which ONNX lacks."""
    from cifar_utils.backend import keras

    def gelu(inputs):
        return 0.5 * inputs * (1.0 + keras.ops.erf(inputs * np.float32(np.sqrt(0.5))))

    exact = keras.activations.gelu
    layers = [one for one in flatten_layers(model) if getattr(one, "activation", None) is exact]
    for layer in layers:
        layer.activation = gelu
    try:
        yield
    finally:
        for layer in layers:
            layer.activation = exact


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
def _quietly():
    """Hold back what exporters tell: names of temporary files, advice against HDF5, noise."""
    level = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.callback(logging.disable, level)
        logging.disable(logging.WARNING)
        stack.enter_context(hold_back(EXPORTER_NOISE))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # Keras 3.8 prints
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx and NumPy 2: not to us
        yield
