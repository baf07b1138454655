"""A trained network in other formats: uint8 images in, probabilities out. Needs Keras.

TensorFlow too, for all formats but `keras` and `h5`. `exports` writes files that are checked.
"""

import contextlib
import importlib.util
import io
import logging
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np

from cifar_utils.backend import hold_back, keras
from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.errors import ModelError
from cifar_utils.text import first_line

# What each format's file is called; a SavedModel is a folder.
SUFFIXES = {"keras": ".keras", "h5": ".h5", "tflite": ".tflite", "onnx": ".onnx", "savedmodel": ""}
WITHOUT_TENSORFLOW = ("tflite", "onnx")
CONVERTER_NOISE = re.compile(rb"tf_tfl_flatbuffer_helpers|^I0000|^WARNING: All log messages")
NEEDS_ONNX = (
    "The onnx format needs tf2onnx, onnx and onnxruntime. Run: pip install 'cifar-notebooks[onnx]'"
    " (in a checkout: pip install -e '.[onnx]')."
)


@keras.saving.register_keras_serializable("cifar_utils")
class ErfGelu(keras.layers.Layer):
    """The exact GELU by way of erf.

    Keras computes it with erfc, which ONNX does not have. The two differ by rounding.
    """

    def call(self, inputs):
        """Return x Φ(x), elementwise."""
        return 0.5 * inputs * (1.0 + keras.ops.erf(inputs * np.float32(np.sqrt(0.5))))


def make_exportable(model, with_erf=False):
    """Give a network an input of bytes: uint8 images in, the scaling inside.

    Args:
        model: From float32 images (n, 32, 32, 3) in [0, 1] to probabilities. One that takes uint8
            already is returned as it is.
        with_erf: Whether to compute GELUs by `ErfGelu`, for converters.

    Returns:
        A `keras.Model` from uint8 images (n, 32, 32, 3) to probabilities.
    """
    if with_erf:

        def exchange(layer):
            is_gelu = getattr(getattr(layer, "activation", None), "__name__", "") == "gelu"
            if is_gelu and isinstance(layer, keras.layers.Activation):
                return ErfGelu(name=layer.name)
            if isinstance(layer, keras.Sequential | keras.Model):
                return keras.models.clone_model(layer, clone_function=exchange)
            return type(layer).from_config(layer.get_config())

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
        reason = first_line(error)
        raise ModelError(
            f"The network cannot be exported as {kind}: {reason} Try another format, or other"
            " versions of Keras and TensorFlow (see constraints.txt)."
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
        return _configure(converter, half).convert()


def _configure(converter, half):
    """Set up a converter: built-in operations, and where wanted weights in float16."""
    import tensorflow as tf

    # Others would need TensorFlow to run.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter


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

    Here HDF5 is written on purpose: it is the documented format.
    """
    from absl import logging as absl_logging

    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        model.save(path)
    finally:
        absl_logging.set_verbosity(verbosity)
