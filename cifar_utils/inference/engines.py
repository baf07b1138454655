"""Runs an exported network: with LiteRT, ONNX Runtime or Keras, the first of them that is there.

An engine has `name`, `input_type`, `shapes` (of one image and of its answer) and
`run(images)`, and gives the same numbers as the others to 1e-5. Importing this module imports
none of the libraries; only Keras's engine imports TensorFlow.
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
from cifar_utils.inference.sources import find_shapes, load_keras_model
from cifar_utils.text import first_line

# LiteRT and Keras prepare a plan per number of images: one, its mirrored pair, six views, the five
# crops of a photo in two or six views, and batches. Every call is made of these sizes, padded
# where need be, so that memory does not grow (keras#13118).
BATCH_SIZES = (1, 2, 6, 10, 30, 64)
# Fewer images are computed on one core: sharing out a few milliseconds' work gains little, and
# LiteRT's threads, which wait by spinning, lose a lot where other programs want the cores as well.
WORTH_THREADS = 30
LITERT_NOISE = re.compile(rb"Created TensorFlow Lite XNNPACK delegate|^INFO:")


def run_padded(run, images, num_classes):
    """Call `run` on images in batches of the sizes that are prepared.

    Args:
        run: From images (size, 32, 32, 3) to probabilities (size, k).
        images: (n, 32, 32, 3); n may be 0.
        num_classes: k.

    Returns:
        float32 (n, k).
    """
    n, start = len(images), 0
    probs = np.empty((n, num_classes), np.float32)
    while start < n:
        size = next((size for size in BATCH_SIZES if n - start <= size), BATCH_SIZES[-1])
        part = images[start : start + size]
        if len(part) < size:
            part = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
        probs[start : start + size] = run(np.ascontiguousarray(part))[: n - start]
        start += size
    return probs


def _only(inputs, outputs):
    """Return the one input and the one output of a network.

    Raises:
        ModelError: If there are more or none.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"The network has {len(inputs)} inputs and {len(outputs)} outputs; expected is one of"
            " each: images in, probabilities out. Choose another model."
        )
    return inputs[0], outputs[0]


class LiteRTEngine:
    """Runs a `.tflite` file with Google's LiteRT (TensorFlow Lite); about 60 MB of memory."""

    name, package, suffix = "LiteRT", "ai_edge_litert", ".tflite"

    def __init__(self, path, threads=1):
        self._path, self._threads, self._prepared = str(path), threads, {}
        interpreter = self._make_interpreter(1)
        tensor, output = _only(interpreter.get_input_details(), interpreter.get_output_details())
        self.input_type = np.dtype(tensor["dtype"])
        self.shapes = tuple(tensor["shape"][1:]), tuple(output["shape"][1:])
        self._tensors = tensor["index"], output["index"]

    def _make_interpreter(self, threads):
        from ai_edge_litert.interpreter import Interpreter

        with hold_back(LITERT_NOISE):
            return Interpreter(model_path=self._path, num_threads=threads)

    def _run(self, images):
        tensor, output = self._tensors
        interpreter = self._prepared.get(len(images))
        if interpreter is None:
            threads = self._threads if len(images) >= WORTH_THREADS else 1
            interpreter = self._make_interpreter(threads)
            interpreter.resize_tensor_input(tensor, images.shape)
            with hold_back(LITERT_NOISE):
                interpreter.allocate_tensors()
            self._prepared[len(images)] = interpreter
        interpreter.set_tensor(tensor, images)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    def run(self, images):
        """Return the answers (n, k) to images (n, 32, 32, 3) of type `input_type`."""
        return run_padded(self._run, images, self.shapes[1][0])


class OnnxEngine:
    """Runs an `.onnx` file with ONNX Runtime; about 90 MB of memory."""

    name, package, suffix = "ONNX Runtime", "onnxruntime", ".onnx"

    def __init__(self, path, threads=1):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        tensor, output = _only(self._session.get_inputs(), self._session.get_outputs())
        self._input = tensor.name
        kind = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
        self.input_type = np.dtype(kind.get(tensor.type, "O"))
        self.shapes = tuple(tensor.shape[1:]), tuple(output.shape[1:])

    def run(self, images):
        """Return the answers (n, k) to images (n, 32, 32, 3) of type `input_type`."""
        parts = [
            self._session.run(None, {self._input: images[i : i + BATCH_SIZES[-1]]})[0]
            for i in range(0, len(images), BATCH_SIZES[-1])
        ]
        return np.concatenate([np.empty((0, *self.shapes[1]), np.float32), *parts])


class KerasEngine:
    """Runs a `.keras` or `.h5` file with Keras and its backend; slow to start, 600 MB."""

    name, package, suffix = "Keras", "keras", ".keras"

    def __init__(self, path, threads=1):
        self._model = load_keras_model(path)
        self.shapes = find_shapes(self._model)
        inputs = self._model.inputs or ()
        self.input_type = np.dtype(str(inputs[0].dtype) if inputs else "O")

    def run(self, images):
        """Return the answers (n, k) to images (n, 32, 32, 3) of type `input_type`."""
        return run_padded(self._model.predict_on_batch, images, self.shapes[1][0])


ENGINES = (LiteRTEngine, OnnxEngine, KerasEngine)
INSTALL = {"LiteRT": "ai-edge-litert", "ONNX Runtime": "onnxruntime", "Keras": "tensorflow-cpu"}


def is_installed(engine):
    """Return whether an engine's library is here, without importing it."""
    if engine is KerasEngine and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        return importlib.util.find_spec("tensorflow") is not None  # Keras alone runs nothing
    return importlib.util.find_spec(engine.package) is not None


def open_engine(files, threads=1, only=None):
    """Open a network with the first engine that is installed and has a file.

    Args:
        files: The same network in one or more formats: a dict from suffix (".tflite", ".onnx",
            ".keras") to path.
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
        if not is_installed(engine):
            notes.append(f"{engine.name}: not installed (pip install {INSTALL[engine.name]})")
        elif path is None:
            notes.append(f"{engine.name}: the model has no {engine.suffix} file")
        else:
            try:
                opened = _open(engine, path, threads)
            except ImportError as error:
                notes.append(f"{engine.name}: installed, but broken ({error})")
                continue
            return opened, f"{engine.name} {_version(engine)}" + _because(notes)
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
        reason = first_line(error)
        raise ModelError(
            f"{engine.name} cannot read {Path(path).name} ({reason}). The file is damaged or of"
            " another kind: copy it again, or make it again with 'python -m cifar_utils export'."
        ) from error


def _version(engine):
    """Return the installed version of an engine's library."""
    names = {"ai_edge_litert": "ai-edge-litert"}
    try:
        return importlib.metadata.version(names.get(engine.package, engine.package))
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


def _because(notes):
    return f", since {'; '.join(notes)}" if notes else ", the first choice"


def to_input(engine, images):
    """Turn uint8 images into what an engine takes: as they are, or scaled to [0, 1]."""
    return images if engine.input_type == np.uint8 else scale_images(images)
