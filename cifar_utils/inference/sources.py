"""Model files: where one came from, whether it is one, and whether it fits the classifier.

Importing this module imports no TensorFlow; `load_keras_model` does.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cifar_utils.data.preprocessing import IMAGE_SIZE
from cifar_utils.errors import ModelError, RunError
from cifar_utils.evaluation.calibration import Calibration
from cifar_utils.inference import pretrained
from cifar_utils.paths import expand_home, relative_to_project, runs_dir
from cifar_utils.runs.store import list_runs
from cifar_utils.text import first_line, suggest

SHIPPED = "fast"  # what is used where no model is named
KERAS_SUFFIX = ".keras"
EXPORTED = (".tflite", ".onnx")
CALIBRATION_FILE = "classifier.json"
PHOTO = "photo"  # among a model's calibrations: for the surest of a photograph's crops
HOW_TO_GET_A_RUN = "Make one with 'python -m cifar_utils run' or the notebook 03_training."


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from.

    Attributes:
        path: The file that was named, or the one that a run folder is known by.
        files: The same network in the formats that are there: a dict from suffix (".tflite",
            ".onnx", ".keras") to path.
        run_name, recipe, dataset: Names from the run's `run.json`; None for a file without one.
        shipped: Whether these are the weights that ship with the package.
        calibration: What was fitted on images that the model never learnt from: a dict from a kind
            of views, or `PHOTO`, to a `calibration.Calibration`; empty where nothing was.
    """

    path: Path
    files: dict
    run_name: str | None = None
    recipe: str | None = None
    dataset: str | None = None
    shipped: bool = False
    calibration: dict = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the model has only ever seen drawn pictures."""
        return self.dataset == "synthetic"

    def __str__(self):
        where = relative_to_project(self.path)
        if self.shipped:
            return (
                f"Model {self.recipe}, whose weights ship with the package (trained on CIFAR-10;"
                " cifar_utils.inference.pretrained.read_card tells the rest)."
            )
        if self.run_name is None:
            return (
                f"Model {where}, which has no run.json: taken for the documented model (RGB / 255 "
                "in, softmax out, classes in CIFAR-10's order)."
            )
        text = f"Model {where}: run {self.run_name}, recipe {self.recipe}"
        if self.synthetic:
            return (
                f"{text}. TRAINED ON SYNTHETIC DATA, NOT CIFAR-10: it knows simple drawings only, "
                "and its answers about photographs mean nothing."
            )
        text += f", trained on {'CIFAR-10' if self.dataset == 'cifar10' else self.dataset}."
        if PHOTO in self.calibration and self.calibration[PHOTO].threshold > 1:
            text += " It calls every answer about a photo unsure: too many of these were wrong."
        return text


def find_model(source=None) -> ModelSource:
    """Find a model and check that its file is one, without loading it.

    Args:
        source: None for the weights that ship with the package; a run folder or a run's name; a
            `.keras`, `.h5`, `.tflite` or `.onnx` file; or the name of shipped weights.

    Returns:
        A `ModelSource`, with what the `run.json` beside the file tells.

    Raises:
        RunError: If the run has no weights yet.
        ModelError: If the file is missing, is no model, or is not the one that was shipped.
    """
    if source is None:
        return find_shipped()
    path = expand_home(source)
    holds_model = path.is_file() or (path / "run.json").is_file()
    if not holds_model and path.name == str(source):  # a bare name; other folders may have it too
        if (runs_dir() / path).is_dir():
            path = runs_dir() / path
        elif str(source) in pretrained.list_pretrained():
            return find_shipped(str(source))
    if path.is_dir():
        files = _files_of_run(path)
        return _describe_source(files.get(KERAS_SUFFIX) or next(iter(files.values())), files)
    _check_file(path)
    suffix = path.suffix.lower()
    return _describe_source(path, {suffix if suffix in EXPORTED else KERAS_SUFFIX: path})


def find_shipped(name=SHIPPED) -> ModelSource:
    """Return where weights that ship with the package lie; their exported file is verified.

    Raises:
        ModelError: If there are none of that name, or the file is not the card's.
    """
    card = pretrained.read_card(name)
    weights = pretrained.WEIGHTS_DIR / f"{name}.npz"
    files = {KERAS_SUFFIX: weights}
    exported = card.get("exported")
    if exported:
        path = pretrained.WEIGHTS_DIR / exported["file"]
        pretrained.read_verified(path, exported["sha256"])
        files = {path.suffix: path} | files
    saved = {kind: part["calibration"] for kind, part in card.get("views", {}).items()}
    calibration = _read_calibration(saved | ({PHOTO: card[PHOTO]} if PHOTO in card else {}))
    return ModelSource(weights, files, None, name, "cifar10", True, calibration)


def _read_calibration(saved):
    """Turn what a file holds into `calibration.Calibration`s, by kind of views."""
    read = {kind: Calibration(**fields) for kind, fields in saved.items()}
    for one in read.values():
        if not (float(one.temperature) > 0 and float(one.threshold) >= 0):
            raise ValueError(f"a temperature of {one.temperature}, a threshold of {one.threshold}")
    return read


def _files_of_run(folder):
    """Return the model files of a run folder by suffix."""
    found = {suffix: folder / f"model{suffix}" for suffix in (*EXPORTED, KERAS_SUFFIX)}
    found = {suffix: path for suffix, path in found.items() if path.is_file()}
    if KERAS_SUFFIX not in found and (folder / "model1.h5").is_file():
        found[KERAS_SUFFIX] = folder / "model1.h5"
    if found:
        return found
    if (folder / "run.json").is_file():
        raise RunError(
            f"The run {folder.name} has no model.keras yet: its training has not finished. Continue"
            f" it with 'python -m cifar_utils run --name {folder.name} --resume'."
        )
    raise RunError(
        f"{folder} is no run folder: it holds neither model.keras nor run.json. Give a folder from "
        f"outputs/runs, or a .keras, .h5, .tflite or .onnx file. {HOW_TO_GET_A_RUN}"
    )


def _check_file(path):
    """Refuse what is no model file before a library gives it a longer name."""
    if not path.is_file():
        names = [run.name for run in list_runs()] + pretrained.list_pretrained()
        hint = f" {suggest(path.name, names)}" if names and path.name == str(path) else ""
        raise ModelError(
            f"There is no file, run or shipped model {path}. Give a .keras, .h5, .tflite or .onnx"
            f" file or a run folder; relative paths start at {Path.cwd()}.{hint}"
        )
    suffix = path.suffix.lower()
    if suffix not in (KERAS_SUFFIX, ".h5", ".hdf5", *EXPORTED):
        raise ModelError(
            f"{path.name} is no model file by its name. Expected is one that ends in .keras, .h5,"
            " .tflite or .onnx; a picture goes into image_path, not model_path."
        )
    if suffix == KERAS_SUFFIX and not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path.name} is no Keras model or is cut short. Copy it again, or save it again "
            "with model.save('name.keras')."
        )
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}). Check the file's permissions."
        ) from error
    if suffix == ".tflite" and head[4:] != b"TFL3":  # flatbuffers' file identifier
        raise ModelError(f"{path.name} is no TensorFlow Lite model. Copy or export it again.")
    if suffix in (".h5", ".hdf5"):
        _check_hdf5(path)


def _check_hdf5(path):
    """Refuse an HDF5 file that is damaged or holds no whole model."""
    import h5py  # Keras brings it

    try:
        with h5py.File(path) as file:
            whole = "model_config" in file.attrs
    except OSError as error:
        raise ModelError(
            f"{path.name} is no HDF5 file or is cut short ({error}). Copy it again."
        ) from error
    if not whole:
        raise ModelError(
            f"{path.name} holds weights only, without the network they belong to. Save the whole "
            "model with model.save('model1.h5'), not save_weights."
        )


def _describe_source(path, files):
    """Read the `run.json` and the `classifier.json` of a model file's run, if it has one."""
    folder = path.parent.parent if path.parent.name == "exports" else path.parent
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        recipe = run.get("recipe")
        recipe = recipe.get("name") if isinstance(recipe, dict) else recipe
        dataset = (run.get("dataset") or {}).get("name")
        name = run.get("name") or folder.name
    except (OSError, ValueError, AttributeError):
        return ModelSource(path, files)
    try:
        text = (folder / CALIBRATION_FILE).read_text(encoding="utf-8")
        calibration = _read_calibration(json.loads(text)["calibration"])
    except OSError:
        calibration = {}  # made by an older version, or nothing was held out
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / CALIBRATION_FILE} is damaged ({error!r}). Delete it: the model then"
            " answers without knowing when it is unsure."
        ) from None
    return ModelSource(path, files, name, recipe, dataset, False, calibration)


def load_keras_model(path):
    """Load a whole Keras model, or shipped weights, for inference; this imports Keras.

    Raises:
        ModelError: If this version of Keras cannot load it.
    """
    from cifar_utils.backend import keras

    if Path(path).suffix == ".npz":  # the weights that ship
        return pretrained.load_pretrained(Path(path).stem)
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises anything from KeyError to zipfile.BadZipFile
        reason = first_line(error)
        raise ModelError(
            f"Keras {keras.__version__} cannot load {path.name}: {reason} Some Keras files load "
            "only in the version that wrote them (a run's run.json names it); install that one, or "
            "train again."
        ) from error
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False  # XLA halves the speed on a CPU, and compiling takes seconds
    return model


def find_shapes(model):
    """Return the shapes of one image and of the answer to it of a Keras model.

    With more inputs or outputs than one, or none that are known, they are shapes that fit nothing.
    """
    found = [
        [tuple(tensor.shape[1:]) for tensor in tensors or ()]
        for tensors in (model.inputs, model.outputs)
    ]
    return tuple(shapes[0] if len(shapes) == 1 else tuple(shapes) for shapes in found)


def check_shapes(shapes, path, num_classes):
    """Refuse, by ModelError, a model that does not take 32×32×3 or does not give ten outputs.

    Args:
        shapes: Of one image, and of the answer to it.
        path: The model's file, for the message.
        num_classes: How many probabilities are expected.
    """
    expected = ((IMAGE_SIZE, IMAGE_SIZE, 3), (num_classes,))
    for what, found, wanted in zip(("takes", "gives"), shapes, expected, strict=True):
        if tuple(found) != wanted:
            raise ModelError(
                f"{path.name} does not fit: per image it {what} {tuple(found) or 'nothing known'},"
                f" expected is {wanted}. The classifier needs RGB images of 32x32 in and one "
                f"probability for each of CIFAR-10's {num_classes} classes out; choose another "
                "model."
            )


def check_input(input_type, path):
    """Refuse, by ModelError, a model whose input is neither bytes nor float32."""
    if input_type not in (np.uint8, np.float32):
        raise ModelError(
            f"{path.name} does not fit: it takes {input_type}, and expected is uint8 (0 to 255) or"
            " float32 (0 to 1). Export it again with 'python -m cifar_utils export'."
        )


def check_probabilities(probs, path):
    """Refuse outputs that are not probabilities: logits, or NaN from a training that diverged.

    Args:
        probs: (n, 10), what the model answered to some images.
        path: The model's file, for the message.

    Raises:
        ModelError: If a row is not finite, or is no distribution.
    """
    if not np.isfinite(probs).all():
        raise ModelError(
            f"{path.name} answers with NaN: its training diverged. Train again, with a smaller "
            "learning_rate."
        )
    if probs.min() < -1e-3 or np.abs(probs.sum(axis=1) - 1).max() > 1e-2:
        raise ModelError(
            f"{path.name} does not answer with probabilities (a first row: "
            f"{np.round(probs[0], 2).tolist()}). End the model with a softmax and save it again."
        )
