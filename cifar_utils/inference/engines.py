"""Runs an exported network: with LiteRT, ONNX Runtime, Keras or TensorFlow, as installed.

All engines give the same numbers to 1e-5. Importing this module imports none of the libraries;
only the engines of Keras and TensorFlow import TensorFlow.
"""

import importlib.metadata
import importlib.util
import os
import re
from pathlib import Path

import numpy as np

from cifar_utils.backend import hold_back
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.errors import CifarError, ModelError
from cifar_utils.inference.sources import (
    KERAS_SUFFIX,
    SAVED_MODEL,
    find_reason,
    load_keras_model,
)

# LiteRT and Keras prepare a plan per number of images: one, its mirrored pair, six views, the five
# crops of a photo in two or six views, and batches. Every call is made of these sizes, padded
# where need be, so that memory does not grow (keras#13118).
BATCH_SIZES = (1, 2, 6, 10, 30, 64)
# Fewer images are computed on one core: sharing out a few milliseconds' work gains little, and
# LiteRT's threads, which wait by spinning, lose a lot where other programs want the cores as well.
WORTH_THREADS = 30
LITERT_NOISE = re.compile(rb"Created TensorFlow Lite XNNPACK delegate|^INFO:")
INPUT_SCALES = ("0..1", "0..255", "-1..1")  # what a network may expect pixels to be


class Engine:
    """A network of any library: arrays in, arrays out.

    Attributes:
        name, package, suffix: The library, what is imported of it, the files that it reads.
        input_type: dtype of the inputs.
        shapes: Of one input and of one output; None stands for a side of any length.
        batch: The only number of inputs that a call takes, or None for any.
        quantisation: `(step, zero)` of integer inputs that stand for (integer - zero) × step, or
            None.
        found_scale: `(one of INPUT_SCALES, why)` where the network's own layers say what pixels
            they expect, or None.
    """

    name = package = suffix = ""
    batch = quantisation = found_scale = None

    def run(self, inputs):
        """Return float32 (n, k) outputs for inputs (n, height, width, 3) of type `input_type`.

        Called in batches of `BATCH_SIZES`, padded, or of the size that the network was fixed to.
        """
        sizes = (self.batch,) if self.batch else BATCH_SIZES
        parts, start, n = [], 0, len(inputs)
        while start < n:
            size = next((size for size in sizes if n - start <= size), sizes[-1])
            part = inputs[start : start + size]
            missing = size - len(part)
            if missing:
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
            outputs = self._run(np.ascontiguousarray(part))
            parts.append(np.asarray(outputs, np.float32)[: n - start])
            start += size
        return np.concatenate(parts)


class LiteRTEngine(Engine):
    """Runs a `.tflite` file with Google's LiteRT (TensorFlow Lite); about 60 MB of memory."""

    name, package, suffix = "LiteRT", "ai_edge_litert", ".tflite"

    def __init__(self, path, threads=1):
        self._path = os.path.abspath(path)  # opened again for each size, in whatever folder
        self._threads, self._prepared = threads, {}
        interpreter = self._make_interpreter(1)
        tensor, output = _only(interpreter.get_input_details(), interpreter.get_output_details())
        self.input_type = np.dtype(tensor["dtype"])
        self.batch, *taken = _known(tensor["shape_signature"])
        self.shapes = tuple(taken), _known(output["shape_signature"])[1:]
        self._tensors = tensor["index"], output["index"]
        # A step of zero stands for "not quantised".
        self.quantisation = tensor["quantization"] if tensor["quantization"][0] else None
        self._output_step, self._output_zero = output["quantization"]

    def _make_interpreter(self, threads):
        from ai_edge_litert.interpreter import Interpreter

        with hold_back(LITERT_NOISE):
            return Interpreter(model_path=self._path, num_threads=threads)

    def _run(self, inputs):
        tensor, output = self._tensors
        interpreter = self._prepared.get(len(inputs))
        if interpreter is None:
            threads = self._threads if len(inputs) >= WORTH_THREADS else 1
            interpreter = self._make_interpreter(threads)
            interpreter.resize_tensor_input(tensor, inputs.shape)
            with hold_back(LITERT_NOISE):
                interpreter.allocate_tensors()
            self._prepared[len(inputs)] = interpreter
        interpreter.set_tensor(tensor, inputs)
        interpreter.invoke()
        outputs = interpreter.get_tensor(output)
        if not self._output_step:
            return outputs
        outputs = (outputs.astype(np.float32) - self._output_zero) * self._output_step
        # Ten probabilities, each rounded to 1/256, add up to one only nearly.
        totals = outputs.sum(axis=1, keepdims=True)
        return np.where(np.abs(totals - 1) < 0.06, outputs / np.where(totals, totals, 1), outputs)


class OnnxEngine(Engine):
    """Runs an `.onnx` file with ONNX Runtime; about 90 MB of memory."""

    name, package, suffix = "ONNX Runtime", "onnxruntime", ".onnx"

    def __init__(self, path, threads=1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what is an error comes as an exception
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        tensor, output = _only(self._session.get_inputs(), self._session.get_outputs())
        self._input = tensor.name
        kinds = {"float": "float32", "uint8": "uint8", "float16": "float16", "double": "float64"}
        kind = tensor.type.removeprefix("tensor(").removesuffix(")")
        self.input_type = np.dtype(kinds.get(kind, "O"))
        self.batch, *taken = _known(tensor.shape)
        self.shapes = tuple(taken), _known(output.shape)[1:]

    def _run(self, inputs):
        return self._session.run(None, {self._input: inputs})[0]


class KerasEngine(Engine):
    """Runs a `.keras` or `.h5` file with Keras and its backend; slow to start, 600 MB."""

    name, package, suffix = "Keras", "keras", KERAS_SUFFIX

    def __init__(self, path, threads=1):
        self._model = load_keras_model(path)
        # A subclass that was never called does not know its inputs.
        tensor, output = _only(self._model.inputs or (), self._model.outputs or ())
        self.input_type = np.dtype(str(tensor.dtype))
        self.batch, *taken = _known(tensor.shape)
        self.shapes = tuple(taken), _known(output.shape)[1:]
        self.found_scale = read_layers(self._model)

    def _run(self, inputs):
        return self._model.predict_on_batch(inputs)


class TensorFlowEngine(Engine):
    """Runs a SavedModel folder with TensorFlow; slow to start, 600 MB."""

    name, package, suffix = "TensorFlow", "tensorflow", SAVED_MODEL

    def __init__(self, path, threads=1):
        from cifar_utils.backend import keras  # noqa: F401  (its quiet import of TensorFlow)

        import tensorflow as tf  # isort: skip

        self._loaded = tf.saved_model.load(str(path))  # without a name it would be gone too early
        self._call = self._loaded.signatures["serving_default"]
        inputs = self._call.structured_input_signature[1]
        (self._input, tensor), (self._output, output) = _only(
            list(inputs.items()), list(self._call.structured_outputs.items())
        )
        self.input_type = np.dtype(tensor.dtype.as_numpy_dtype)
        self.batch, *taken = _known(tensor.shape)
        self.shapes = tuple(taken), _known(output.shape)[1:]

    def _run(self, inputs):
        from tensorflow import constant

        return self._call(**{self._input: constant(inputs)})[self._output].numpy()


ENGINES = (LiteRTEngine, OnnxEngine, KerasEngine, TensorFlowEngine)
INSTALL = {
    "LiteRT": "ai-edge-litert",
    "ONNX Runtime": "onnxruntime",
    "Keras": "tensorflow-cpu",
    "TensorFlow": "tensorflow-cpu",
}


def _known(shape):
    """Return a shape as a tuple, with None for each side that is not a fixed number."""
    sides = () if shape is None else tuple(shape)
    return tuple(
        int(side) if isinstance(side, int | np.integer) and side > 0 else None for side in sides
    ) or (None,)


def _only(inputs, outputs):
    """Return the one input and the one output of a network.

    Raises:
        ModelError: If there are more or none.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"The network does not fit: it has {len(inputs)} inputs and {len(outputs)} outputs;"
            " expected is one of each, images in and probabilities out. Choose another model."
        )
    return inputs[0], outputs[0]


def to_input(engine, images, scale="0..1"):
    """Turn uint8 images into what an engine takes.

    Args:
        engine: An `Engine`.
        images: uint8 (n, 32, 32, 3).
        scale: One of `INPUT_SCALES`; bytes that are not quantised are given as they are.

    Returns:
        (n, 32, 32, 3), or (n, 3, 32, 32) for a network with the channels first.
    """
    if engine.quantisation or engine.input_type != np.uint8:
        if scale == "0..255":
            images = images.astype(np.float32)
        elif scale == "-1..1":
            images = images.astype(np.float32) / np.float32(127.5) - np.float32(1)
        else:
            images = scale_images(images)
    if engine.quantisation:
        step, zero = engine.quantisation
        limits = np.iinfo(engine.input_type)
        images = np.clip(np.rint(images / step) + zero, limits.min, limits.max)
    images = images.astype(engine.input_type, copy=False)
    if engine.shapes[0][0] == 3 and engine.shapes[0][-1] != 3:
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


# ---------- what a network says of its inputs ---------------------------------------------------


def read_layers(model):
    """Read from a Keras model's first layers what pixels they expect.

    Args:
        model: A `keras.Model`.

    Returns:
        `(one of INPUT_SCALES, why)`, or None where nothing says it.
    """
    for layer in _flatten_layers(model):
        kind = type(layer).__name__
        if kind == "Rescaling":
            factor = float(np.max(layer.scale))
            if factor <= 1 / 25:  # such as 1/255 or 1/127.5: it brings bytes to about 1
                return "0..255", f"its layer Rescaling multiplies by {factor:.4g}"
            if factor > 1:  # such as 2, with an offset of -1, or 255
                return "0..1", f"its layer Rescaling multiplies by {factor:.4g}"
        elif kind == "Normalization":
            mean, variance = (np.max(np.asarray(part)) for part in (layer.mean, layer.variance))
            if mean > 2 or variance > 4:
                return "0..255", f"its layer Normalization subtracts {mean:.4g}"
            if mean > 0.15 and variance < 0.5:
                return "0..1", f"its layer Normalization subtracts {mean:.4g}"
        elif layer.weights:
            return None
    return None


def _flatten_layers(model):
    """Yield a model's layers in order, those of the models in it included."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _flatten_layers(layer)
        else:
            yield layer


def read_quantisation(engine):
    """Read from a quantised input's range what pixels it expects; as `read_layers`."""
    step, zero = engine.quantisation
    limits = np.iinfo(engine.input_type)
    low, high = (limits.min - zero) * step, (limits.max - zero) * step
    for scale, (bottom, top) in zip(INPUT_SCALES, ((0, 1), (0, 255), (-1, 1)), strict=True):
        if max(abs(low - bottom), abs(high - top)) < 0.1 * (top - bottom):
            return scale, f"its quantised inputs run from {low:.3g} to {high:.3g}"
    return None


# ---------- opening -----------------------------------------------------------------------------


def is_installed(engine):
    """Return whether an engine's library is here, without importing it."""
    if engine is KerasEngine and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        return importlib.util.find_spec("tensorflow") is not None  # Keras alone runs nothing
    return importlib.util.find_spec(engine.package) is not None


def describe_engines() -> list[str]:
    """List the engines in the order in which they are tried, and whether each is installed."""
    return [
        f"{engine.name}: "
        + ("installed" if is_installed(engine) else f"pip install {INSTALL[engine.name]}")
        for engine in ENGINES
    ]


def open_engine(files, threads=1, only=None):
    """Open a network with the first engine that is installed and has a file.

    Args:
        files: The same network in one or more formats: a dict from suffix to path.
        threads: Processor cores to use.
        only: The name of the one engine to take; None tries all in the order of `ENGINES`.

    Returns:
        `(engine, why)`: `why` is one sentence on which engine was taken and what became of those
        before it.

    Raises:
        ModelError: If none can open it; says which library is missing.
    """
    known = [engine.name for engine in ENGINES]
    if only is not None and only not in known:
        raise ModelError(f"There is no engine {only!r}. Valid: {', '.join(known)}.")
    notes = []
    for engine in ENGINES:
        path = files.get(engine.suffix)
        if only not in (None, engine.name):
            continue
        if path is None:
            notes.append(f"{engine.name}: the model has no {engine.suffix} file")
        elif not is_installed(engine):
            notes.append(f"{engine.name}: not installed (pip install {INSTALL[engine.name]})")
        else:
            try:
                opened = _open(engine, path, threads)
            except ImportError as error:
                notes.append(f"{engine.name}: installed, but broken ({error})")
                continue
            because = f", since {'; '.join(notes)}" if notes else ", the first choice"
            return opened, f"{engine.name} {_version(engine)}{because}"
    raise ModelError(
        f"Nothing here can run the model. {'; '.join(notes)}. A file for another engine is made by"
        " 'python -m cifar_utils export'."
    )


def _open(engine, path, threads):
    """Open a file, and say in one sentence why if that fails."""
    try:
        return engine(path, threads)
    except (CifarError, ImportError):
        raise
    except Exception as error:  # each library has its own
        raise ModelError(
            f"{engine.name} {_version(engine)} cannot open {Path(path).name}:"
            f" {find_reason(error)} Make the file again, for instance with 'python -m cifar_utils"
            " export', or take one of another format."
        ) from error


def _version(engine):
    """Return the installed version of an engine's library."""
    names = {"ai_edge_litert": ["ai-edge-litert"], "tensorflow": ["tensorflow", "tensorflow-cpu"]}
    for name in names.get(engine.package, [engine.package]):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "(version unknown)"
