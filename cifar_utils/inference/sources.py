"""The one resolver: a run, a file, a folder or a shipped model, by whatever names it."""

import contextlib
import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from cifar_utils.errors import ModelError, RunError
from cifar_utils.evaluation.calibration import Calibration
from cifar_utils.inference import pretrained
from cifar_utils.paths import expand_home, relative_to_project, runs_dir
from cifar_utils.runs.store import list_runs
from cifar_utils.text import first_line, suggest

SHIPPED = "fast"  # what is used where no model is named
KERAS_SUFFIX = ".keras"  # stands for .h5 too: Keras reads both
SAVED_MODEL = "SavedModel"  # a folder of TensorFlow
EXPORTED = (".tflite", ".onnx")
CALIBRATION_FILE = "classifier.json"
PHOTO = "photo"  # among a model's calibrations: for the most confident of a photo's crops
# What C++ libraries put in front of their reason: "…/model.cc:256 onnxruntime::Model(…&) ".
CODE_PLACE = re.compile(r"\S+\.(?:cc|cpp|h):\d+\s+(?:[\w:~<>]+(?:\(.*?\))?\s+(?=[A-Z]))?")


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from.

    Attributes:
        path: The model's file or, for a SavedModel, its folder.
        files: The same network in all its formats: a dict from suffix (or "SavedModel") to path.
        run_name, recipe, dataset: Names from the run's `run.json`; None for a file without one.
        shipped: Whether these are the weights that ship with the package.
        calibration: What was fitted on images that the model was not trained on: a dict from a
            kind of views, or `PHOTO`, to a `calibration.Calibration`.
        named: `find_model(named)` finds the same again, from any folder.
        contract: What `Classifier.load` found out about a file without a `run.json`.
    """

    path: Path
    files: dict
    run_name: str | None = None
    recipe: str | None = None
    dataset: str | None = None
    shipped: bool = False
    calibration: dict = field(default_factory=dict)
    named: str = ""
    contract: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether the model was trained on drawings only."""
        return self.dataset == "synthetic"

    @property
    def foreign(self) -> bool:
        """Whether nothing is known of the model but its file."""
        return not self.shipped and self.run_name is None

    def __str__(self):
        where = relative_to_project(self.path)
        if self.shipped:
            return (
                f"Model {self.recipe}, whose weights ship with the package (trained on CIFAR-10;"
                " cifar_utils.inference.pretrained.read_card tells the rest)."
            )
        if self.foreign:
            text = f"Model {where}, which has no run.json; classes in CIFAR-10's order."
            return f"{text} {self.contract}".strip()
        text = f"Model {where}: run {self.run_name}, recipe {self.recipe}"
        if self.synthetic:
            return (
                f"{text}. TRAINED ON SYNTHETIC DATA, NOT CIFAR-10: it knows simple drawings only,"
                " and its predictions for photos mean nothing."
            )
        text += f", trained on {'CIFAR-10' if self.dataset == 'cifar10' else self.dataset}."
        if PHOTO in self.calibration and self.calibration[PHOTO].threshold > 1:
            text += " It is never confident about a photo: too many predictions were wrong."
        return text


def find_model(source=None) -> ModelSource:
    """Find a model and check that its file may be one, without loading it.

    Args:
        source: None for the weights that ship with the package; a run folder or a run's name; a
            `.keras`, `.h5`, `.tflite` or `.onnx` file; a SavedModel folder; or the name of shipped
            weights. A run goes before shipped weights of the same name.

    Raises:
        CifarError: If there is none, or the run has no weights yet.
    """
    if source is None:
        return find_shipped()
    path = expand_home(source)
    holds_model = path.is_file() or any(
        (path / name).is_file() for name in ("run.json", "saved_model.pb")
    )
    if not holds_model and path.name == str(source):  # a bare name; other folders may have it too
        if (runs_dir() / path).is_dir():
            path = runs_dir() / path
        elif str(source) in pretrained.list_pretrained():
            return find_shipped(str(source))
    if (path / "saved_model.pb").is_file():
        files = {SAVED_MODEL: path}
    elif path.is_dir():
        files = _list_run_files(path)
    else:
        files = {_check_suffix(path): path}
    file = files.get(KERAS_SUFFIX) or next(iter(files.values()))
    return _describe_source(file, files, os.path.abspath(path))


def find_shipped(name=SHIPPED) -> ModelSource:
    """Return where weights that ship with the package are; their exported file is verified."""
    card = pretrained.read_card(name)
    weights = pretrained.WEIGHTS_DIR / f"{name}.npz"
    files = {KERAS_SUFFIX: weights}
    if exported := card.get("exported"):
        path = pretrained.WEIGHTS_DIR / exported["file"]
        pretrained.read_verified(path, exported["sha256"])
        files = {path.suffix: path} | files
    saved = {kind: part["calibration"] for kind, part in card.get("views", {}).items()}
    calibration = _read_calibration(saved | ({PHOTO: card[PHOTO]} if PHOTO in card else {}))
    return ModelSource(weights, files, None, name, "cifar10", True, calibration, name)


def _list_run_files(folder):
    """Return the model files of a run folder by suffix."""
    names = [(KERAS_SUFFIX, "model1.h5")]  # or, where it is there:
    names += [(suffix, f"model{suffix}") for suffix in (KERAS_SUFFIX, *EXPORTED)]
    files = {suffix: folder / name for suffix, name in names if (folder / name).is_file()}
    if files:
        return files
    if (folder / "run.json").is_file():
        raise RunError(
            f"The run {folder.name} has no model.keras yet. Continue its training with"
            f" 'python -m cifar_utils run --name {folder.name} --resume'."
        )
    raise RunError(
        f"{folder} is no run folder and no SavedModel: it has no model.keras, run.json or"
        " saved_model.pb. Make a run with 'python -m cifar_utils run', or give a model file."
    )


def _check_suffix(path):
    """Return what kind of model a file is, or refuse it before a library gives it a longer name."""
    suffix = path.suffix.lower()
    if not path.is_file():
        names = [run.name for run in list_runs()] + pretrained.list_pretrained()
        hint = f" {suggest(path.name, names)}" if path.name == str(path) else ""
        raise ModelError(
            f"There is no file, run or shipped model {path} (paths start at {Path.cwd()}).{hint}"
        )
    if suffix not in (KERAS_SUFFIX, ".h5", ".hdf5", *EXPORTED):
        raise ModelError(
            f"{path.name} is no model file by its name: .keras, .h5, .tflite or .onnx is expected."
            " An image goes into image_path, not model_path."
        )
    if suffix == KERAS_SUFFIX and not zipfile.is_zipfile(path):  # Keras would say "not found"
        raise ModelError(f"{path.name} is no Keras model or is cut short. Copy or save it again.")
    return suffix if suffix in EXPORTED else KERAS_SUFFIX


def _describe_source(path, files, named):
    """Read the `run.json` and the `classifier.json` of a model file's run, if it has one."""
    folder = path.parent.parent if path.parent.name == "exports" else path.parent
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        recipe = run.get("recipe")
        recipe = recipe.get("name") if isinstance(recipe, dict) else recipe
        dataset = (run.get("dataset") or {}).get("name")
        name = run.get("name") or folder.name
    except (OSError, ValueError, AttributeError):
        return ModelSource(path, files, named=named)
    try:
        text = (folder / CALIBRATION_FILE).read_text(encoding="utf-8")
        calibration = _read_calibration(json.loads(text)["calibration"])
    except OSError:
        calibration = {}  # made by an older version, or nothing was held out
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / CALIBRATION_FILE} cannot be used ({error!r}). Delete it."
        ) from None
    return ModelSource(path, files, name, recipe, dataset, False, calibration, named)


def _read_calibration(saved):
    """Turn what a file holds into `calibration.Calibration`s, by kind of views."""
    read = {kind: Calibration(**fields) for kind, fields in saved.items()}
    for one in read.values():
        if not (float(one.temperature) > 0 and float(one.threshold) >= 0):
            raise ValueError(f"a temperature of {one.temperature}, a threshold of {one.threshold}")
    return read


def load_keras_model(path):
    """Load a `.keras` or `.h5` file, or the `.npz` of shipped weights, without compiling it."""
    from cifar_utils.backend import keras, pinned_settings

    path = Path(path)
    if path.suffix == ".npz":  # the weights that ship
        return pretrained.load_pretrained(path.stem)
    try:
        with pinned_settings():
            model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises anything from KeyError to zipfile.BadZipFile
        writer = "another version"
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as parts:
            writer = f"Keras {json.loads(parts.read('metadata.json'))['keras_version']}"
        raise ModelError(
            f"Keras {keras.__version__} cannot load {path.name}: {find_reason(error)} Install what"
            f" it was written with ({writer}), or save it without what the message names."
        ) from error
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False  # XLA halves the speed on a CPU, and compiling takes seconds
    return model


def find_reason(error, most=300) -> str:
    """Return the part of a library's message that holds the reason, as a sentence."""
    text = str(error).strip() or type(error).__name__
    # Nested models: each level repeats what its part said, the innermost last.
    text = text.rpartition("Exception encountered:")[2].strip() or text
    text = re.sub(r"^\[ONNXRuntimeError\](?: : \w+)* : (?:Load model from .*? failed:)?", "", text)
    text = first_line(" ".join(CODE_PLACE.sub("", text).split()), most)
    return text if text.endswith((".", "!", "?")) else f"{text}."
