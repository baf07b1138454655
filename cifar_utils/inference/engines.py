"""Runs an exported network: with LiteRT, ONNX Runtime, Keras or TensorFlow, as installed.

All engines give the same numbers to 1e-5. Only those of Keras and TensorFlow import TensorFlow.
"""

import importlib.util
import os
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cifar_utils.backend import hold_back, pinned_settings
from cifar_utils.data import CLASS_NAMES
from cifar_utils.data.preprocessing import IMAGE_SIZE, scale_images
from cifar_utils.errors import CifarError, ModelError, ParameterError
from cifar_utils.inference.sources import KERAS_SUFFIX, SAVED_MODEL, find_reason, load_keras_model
from cifar_utils.paths import read_variable

# LiteRT and Keras prepare a plan per number of images: one, its mirrored pair, six views, the five
# crops of a photo in two or six views, and batches. Every call is made of these sizes, padded
# where need be, so that memory does not grow (keras#13118).
BATCH_SIZES = (1, 2, 6, 10, 30, 64)
# Fewer images are computed on one core: sharing out a few milliseconds' work gains little, and
# LiteRT's threads, which wait by spinning, lose a lot where other programs want the cores as well.
WORTH_THREADS = 30
LITERT_NOISE = re.compile(rb"Created TensorFlow Lite XNNPACK delegate|^INFO:")
INPUT_SCALES = ("0..1", "0..255", "-1..1")  # what a network may expect pixels to be
# 19 drawings, two of each class but one of a horse, and four crops of the sample cat. Both shipped
# networks classify all of them correctly; no pixel of CIFAR-10 is among them.
THUMBNAILS = Path(__file__).with_name("samples") / "thumbnails.png"
THUMBNAIL_LABELS = np.array([*np.repeat(np.arange(10), 2)[:15], 8, 8, 9, 9, 3, 3, 3, 3])
# Between the scores of two scales; with less, the probe has not told them apart. Right and wrong
# scales of seven networks with 49 to 94 % test accuracy differed by 0.5 to 5.
CLEAR_MARGIN = 0.25
N_CLASSES = len(CLASS_NAMES)
SQUARES = ((IMAGE_SIZE, IMAGE_SIZE, 3), (3, IMAGE_SIZE, IMAGE_SIZE))  # channels last, first


class Engine:
    """A network of any library, and what it takes and gives: read once, from its file.

    Attributes:
        name, package, install, suffix: The library, what is imported of it, what `pip` calls it,
            and the files that it reads.
        batch: The only number of inputs that a call takes, or None for any.
        quantisation: `(step, zero)` of integer inputs that stand for (integer - zero) × step.
        found_scale: `(one of INPUT_SCALES, why)` where the file says what pixels it expects.
        scale, logits: The scale in use, and whether a softmax is missing; see `fit_engine`.
    """

    name = package = install = suffix = ""
    quantisation = found_scale = None
    scale, logits = INPUT_SCALES[0], False

    def __init__(self, path, threads=1):
        self._path = os.path.abspath(path)  # LiteRT opens it again, in whatever folder
        self._threads = threads
        inputs, outputs = self._open()
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        if len(inputs) == len(outputs) == 1:
            (self._input, kind, taken), (self._output, _, given) = *inputs, *outputs
            self.input_type = np.dtype(kind)
            self.batch, *taken = _list_sides(taken)
            given = _list_sides(given)[1:]
            self.channels_first = not _fits(taken, SQUARES[0])
            known_type = self.quantisation or self.input_type.kind == "f" or self.takes_bytes
            square = any(_fits(taken, square) for square in SQUARES)
            if known_type and square and _fits(given, (N_CLASSES,)):
                return
            found = f"inputs {self.input_type} {tuple(taken)} and outputs {given}"
        raise ModelError(
            f"{os.path.basename(path)} does not fit: it has {found}. Expected are RGB images"
            f" {SQUARES[0]}, uint8 or float32, and a probability for each of CIFAR-10's"
            f" {N_CLASSES} classes; choose another model."
        )

    def _open(self):
        """Open the file; return `(key, dtype, shape)` of each input, and of each output."""

    @property
    def takes_bytes(self):
        """Whether the pixels are given as they are."""
        return self.input_type == np.uint8 and not self.quantisation

    def compute_probs(self, images):
        """Return probabilities, float32 (n, 10), for uint8 images (n, 32, 32, 3); n may be 0."""
        if not len(images):
            return np.empty((0, N_CLASSES), np.float32)
        outputs = self.run(images, self.scale)
        return _apply_softmax(outputs) if self.logits else outputs

    def run(self, images, scale):
        """Return the outputs as they are, float32 (n, k), for uint8 images; padded, in batches."""
        inputs = self._prepare_inputs(images, scale)
        sizes = (self.batch,) if self.batch else BATCH_SIZES
        parts, start, n = [], 0, len(inputs)
        while start < n:
            size = next((size for size in sizes if n - start <= size), sizes[-1])
            part = np.zeros((size, *inputs.shape[1:]), inputs.dtype)
            part[: n - start] = inputs[start : start + size]
            parts.append(np.asarray(self._run(part), np.float32)[: n - start])
            start += size
        return np.concatenate(parts)

    def _prepare_inputs(self, images, scale):
        """Turn uint8 images into what the network takes."""
        if not self.takes_bytes:
            images = scale_images(images) if scale == "0..1" else images.astype(np.float32)
            if scale == "-1..1":
                images = images / np.float32(127.5) - np.float32(1)
        if self.quantisation:
            step, zero = self.quantisation
            limits = np.iinfo(self.input_type)
            images = np.clip(np.rint(images / step) + zero, limits.min, limits.max)
        images = images.astype(self.input_type, copy=False)
        return images.transpose(0, 3, 1, 2) if self.channels_first else images


class LiteRTEngine(Engine):
    """Runs a `.tflite` file with Google's LiteRT (TensorFlow Lite); about 60 MB of memory."""

    name, package, install, suffix = "LiteRT", "ai_edge_litert", "ai-edge-litert", ".tflite"

    def _open(self):
        self._prepared = {}
        interpreter = self._make_interpreter(1)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        step, zero = inputs[0]["quantization"]
        if step:  # a step of zero stands for "not quantised"
            self.quantisation = step, zero
            self.found_scale = read_range(inputs[0]["dtype"], step, zero)
        self._output_step, self._output_zero = outputs[0]["quantization"]
        return (
            [(tensor["index"], tensor["dtype"], tensor["shape_signature"]) for tensor in tensors]
            for tensors in (inputs, outputs)
        )

    def _make_interpreter(self, threads):
        from ai_edge_litert.interpreter import Interpreter

        with hold_back(LITERT_NOISE):
            return Interpreter(model_path=self._path, num_threads=threads)

    def _run(self, inputs):
        interpreter = self._prepared.get(len(inputs))
        if interpreter is None:
            threads = self._threads if len(inputs) >= WORTH_THREADS else 1
            interpreter = self._make_interpreter(threads)
            interpreter.resize_tensor_input(self._input, inputs.shape)
            with hold_back(LITERT_NOISE):
                interpreter.allocate_tensors()
            self._prepared[len(inputs)] = interpreter
        interpreter.set_tensor(self._input, inputs)
        interpreter.invoke()
        outputs = interpreter.get_tensor(self._output)
        if not self._output_step:
            return outputs
        outputs = (outputs.astype(np.float32) - self._output_zero) * self._output_step
        # Ten probabilities, each rounded to 1/256, add up to one only nearly.
        totals = outputs.sum(axis=1, keepdims=True)
        return np.where(np.abs(totals - 1) < 0.06, outputs / np.where(totals, totals, 1), outputs)


class OnnxEngine(Engine):
    """Runs an `.onnx` file with ONNX Runtime; about 90 MB of memory."""

    name, package, install, suffix = "ONNX Runtime", "onnxruntime", "onnxruntime", ".onnx"

    def _open(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4  # what is an error comes as an exception
        self._session = onnxruntime.InferenceSession(
            self._path, options, providers=["CPUExecutionProvider"]
        )
        kinds = {"tensor(float)": "float32", "tensor(double)": "float64"}
        return (
            [(one.name, kinds.get(one.type, one.type[7:-1]), one.shape) for one in tensors]
            for tensors in (self._session.get_inputs(), self._session.get_outputs())
        )

    def _run(self, inputs):
        return self._session.run(None, {self._input: inputs})[0]


class KerasEngine(Engine):
    """Runs a `.keras` or `.h5` file with Keras and its backend; slow to start, 600 MB."""

    name, package, install, suffix = "Keras", "keras", "tensorflow-cpu", KERAS_SUFFIX

    def _open(self):
        self.model = load_keras_model(self._path)
        self.found_scale = read_layers(self.model)
        # A subclass that was never called does not know its inputs.
        tensors = (self.model.inputs or (), self.model.outputs or ())
        return ([(None, str(one.dtype), one.shape) for one in part] for part in tensors)

    def _run(self, inputs):
        with pinned_settings():  # a new size is traced anew
            return self.model.predict_on_batch(inputs)


class TensorFlowEngine(Engine):
    """Runs a SavedModel folder with TensorFlow; slow to start, 600 MB."""

    name, package, install, suffix = "TensorFlow", "tensorflow", "tensorflow-cpu", SAVED_MODEL

    def _open(self):
        from cifar_utils.backend import keras  # noqa: F401  (its quiet import of TensorFlow)

        import tensorflow as tf  # isort: skip

        self._loaded = tf.saved_model.load(self._path)  # without a name it would be gone too early
        self._call = self._loaded.signatures["serving_default"]
        tensors = (self._call.structured_input_signature[1], self._call.structured_outputs)
        return (
            [(name, one.dtype.as_numpy_dtype, one.shape) for name, one in part.items()]
            for part in tensors
        )

    def _run(self, inputs):
        from tensorflow import constant

        return self._call(**{self._input: constant(inputs)})[self._output].numpy()


ENGINES = (LiteRTEngine, OnnxEngine, KerasEngine, TensorFlowEngine)


def _list_sides(shape):
    """Return a shape as a tuple, with None for each side that is not a fixed number."""
    sides = [None] if shape is None else shape
    return tuple(int(n) if isinstance(n, int | np.integer) and n > 0 else None for n in sides)


def _fits(found, wanted):
    """Return whether a shape, whose sides may be None for any length, allows another."""
    return len(found) == len(wanted) and all(
        side in (None, needed) for side, needed in zip(found, wanted, strict=True)
    )


def read_layers(model):
    """Read from a Keras model's first layers what pixels they expect; see `Engine.found_scale`."""
    for layer in flatten_layers(model):
        kind, centre = type(layer).__name__, 1
        if kind == "Rescaling":
            factor = np.max(layer.scale)
        elif kind == "Normalization":
            centre = np.max(np.asarray(layer.mean))  # near zero for pixels from -1 to 1
            factor = 1 / np.sqrt(np.max(np.asarray(layer.variance)))
        elif layer.weights:
            return None
        else:
            continue
        if factor <= 1 / 25:  # such as 1/255 or 1/127.5: it brings bytes to about 1
            return "0..255", f"its layer {kind} multiplies by {factor:.4g}"
        if factor > 1 and centre > 0.15:  # such as 2, with an offset of -1, or 255
            return "0..1", f"its layer {kind} multiplies by {factor:.4g}"
    return None


def flatten_layers(model):
    """Yield a Keras model's layers in order, those of the models in it included."""
    for layer in model.layers:
        yield from flatten_layers(layer) if hasattr(layer, "layers") else (layer,)


def read_range(kind, step, zero):
    """Read from a quantised input's range what pixels it expects; see `Engine.found_scale`."""
    limits = np.iinfo(kind)
    low, high = (limits.min - zero) * step, (limits.max - zero) * step
    for scale, (bottom, top) in zip(INPUT_SCALES, ((0, 1), (0, 255), (-1, 1)), strict=True):
        if max(abs(low - bottom), abs(high - top)) < 0.1 * (top - bottom):
            return scale, f"its quantised inputs run from {low:.3g} to {high:.3g}"
    return None


def fit_engine(engine, source, input_scale=None) -> str:
    """Set `engine.scale` and `engine.logits`: as given, known, read from the file, or probed.

    Fed with the wrong pixels, a network gives wrong predictions without any error. Returns
    sentences on what was found, and how; empty for networks of ours.
    """
    if input_scale not in (None, *INPUT_SCALES):
        raise ParameterError(
            f"There is no input_scale {input_scale!r}. Valid: {', '.join(INPUT_SCALES)}."
        )
    engine.scale, why = _choose_scale(engine, source, input_scale)
    outputs, name = _try(engine, source, engine.scale), source.path.name
    if not np.isfinite(outputs).all():
        raise ModelError(f"{name} gives NaN: its training diverged. Train with a smaller rate.")
    if outputs.min() < -1e-3 or np.abs(outputs.sum(axis=1) - 1).max() > 1e-2:
        engine.logits = source.foreign and _are_logits(outputs)
        if not engine.logits:
            row = np.round(outputs[0], 2).tolist()
            raise ModelError(f"{name} gives no probabilities, but {row}. End it with a softmax.")
    if not source.foreign:
        return ""
    text = f"It takes RGB {engine.scale}: {why}."
    if engine.logits:
        text += " Its outputs are taken for logits: a softmax is applied."
    predicted = set(outputs.argmax(axis=1))
    if len(predicted) == 1:
        text += (
            f" WARNING: it predicts {CLASS_NAMES[predicted.pop()]} for each of"
            f" {len(outputs)} different images. Try another input_scale, or train it again."
        )
    return text


def _choose_scale(engine, source, input_scale):
    """Return one of `INPUT_SCALES` and why: as given, known, read from the network, or probed."""
    if engine.takes_bytes:
        return "0..255", "its inputs are bytes"
    if input_scale:
        return input_scale, "as input_scale says"
    if not source.foreign:
        return "0..1", "as all runs do"
    if engine.found_scale:
        return engine.found_scale[0], f"{engine.found_scale[1]}; input_scale overrides it"
    scores = {scale: _score(_try(engine, source, scale)) for scale in INPUT_SCALES}
    best, told = max(scores, key=scores.get), "suit that best"
    if best != "0..1" and scores[best] < scores["0..1"] + CLEAR_MARGIN:
        best, told = "0..1", "do not tell, so as the original"
    numbers = ", ".join(f"{scale} {score:.2f}" for scale, score in scores.items())
    return best, (
        f"its file does not say it; its predictions for 46 bundled images {told} (scores:"
        f" {numbers}); input_scale overrides it"
    )


def read_thumbnails():
    """Return images that a network can be tried on: uint8 (46, 32, 32, 3) and labels (46,)."""
    with Image.open(THUMBNAILS) as strip:
        images = np.stack(np.split(np.asarray(strip.convert("RGB")), strip.width // 32, axis=1))
    # Mirrored images are as easy, and make the average steadier.
    return np.concatenate([images, images[:, :, ::-1]]), np.tile(THUMBNAIL_LABELS, 2)


def _score(outputs):
    """Score how well outputs (46, 10) for the thumbnails suit a network that was trained."""
    if not np.isfinite(outputs).all():  # 255 is more than some networks can take
        return -np.inf
    probs = _apply_softmax(outputs) if _are_logits(outputs) else outputs
    probs = np.clip(probs, 1e-3, 1).astype(np.float64)
    _, labels = read_thumbnails()
    # The mean log probability of the right class says whether they are correct. The mutual
    # information of image and prediction says whether they are confident and varied: it is zero for
    # a constant prediction, which the first part alone would prefer to a weak network's.
    right = np.log(probs[np.arange(len(labels)), labels]).mean()
    entropies = [-(p * np.log(p)).sum(axis=-1).mean() for p in (probs.mean(axis=0), probs)]
    return right + entropies[0] - entropies[1]


def _try(engine, source, scale):
    """Return the outputs for the thumbnails, or for fewer images where nothing is probed."""
    images, _ = read_thumbnails()
    try:
        outputs = engine.run(images if source.foreign else images[::15], scale)
        return outputs.reshape(len(outputs), N_CLASSES)  # a ValueError for other shapes
    except Exception as error:  # each library has its own
        raise ModelError(
            f"{source.path.name} cannot predict for images (n, 32, 32, 3): {find_reason(error)}"
            " Export it again with 'python -m cifar_utils export'."
        ) from error


def _are_logits(outputs):
    return outputs.min() < -1e-3 or outputs.max() > 1 + 1e-3


def _apply_softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def is_installed(engine):
    """Return whether an engine's library is here, without importing it."""
    if engine is KerasEngine and (read_variable("KERAS_BACKEND") or "tensorflow") == "tensorflow":
        return importlib.util.find_spec("tensorflow") is not None  # Keras alone runs nothing
    return importlib.util.find_spec(engine.package) is not None


def describe_engines() -> list[str]:
    """List the engines in the order in which they are tried, and whether each is installed."""
    advice = {True: "installed", False: "pip install {}"}
    return [f"{one.name}: {advice[is_installed(one)].format(one.install)}" for one in ENGINES]


def open_engine(files, threads=1, only=None):
    """Open a network with the first engine that is installed and has a file, or with `only` one.

    Args:
        files: As in `sources.ModelSource`.
        threads: Processor cores to use.
        only: The name of an engine, or None.

    Returns:
        `(engine, why)`: one sentence on which was taken and what became of those before it.
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
            continue
        if not is_installed(engine):
            notes.append(f"{engine.name}: not installed (pip install {engine.install})")
            continue
        try:
            opened = engine(path, threads)
        except ImportError as error:
            notes.append(f"{engine.name}: installed, but broken ({error})")
        except CifarError:
            raise
        except Exception as error:  # each library has its own
            raise ModelError(
                f"{engine.name} cannot open {path.name}: {find_reason(error)} Make the file again"
                " ('python -m cifar_utils export'), or take another format."
            ) from error
        else:
            because = f"since {'; '.join(notes)}" if notes else "the first choice"
            version = getattr(sys.modules[engine.package], "__version__", "")
            return opened, f"{engine.name} {version}, {because}"
    raise ModelError(f"Nothing here can run the model. {'; '.join(notes)}. Install one of these.")
