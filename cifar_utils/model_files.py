"""Model files: where one came from, whether it is one, and whether it fits the classifier.

Importing this module imports no TensorFlow; `load_keras_model` does.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_utils.errors import CifarError, RunError
from cifar_utils.files import relative_to_project
from cifar_utils.preprocessing import IMAGE_SIZE

HOW_TO_GET_A_RUN = "Make one with 'python -m cifar_utils run' or the notebook 03_training."


class ModelError(CifarError):
    """A file is no model that the classifier can use."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model came from.

    Attributes:
        path: The file that was loaded.
        run_name, recipe, dataset: Names from the run's `run.json`; None for a file without one.
        shipped: Whether these are the weights that ship with the package.
    """

    path: Path
    run_name: str | None = None
    recipe: str | None = None
    dataset: str | None = None
    shipped: bool = False

    @property
    def synthetic(self) -> bool:
        """Whether the model has only ever seen drawn pictures."""
        return self.dataset == "synthetic"

    def __str__(self):
        where = relative_to_project(self.path)
        if self.shipped:
            return (
                f"Model {self.recipe}, whose weights ship with the package (trained on CIFAR-10;"
                " cifar_utils.pretrained.read_card tells the rest)."
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
        return f"{text}, trained on {'CIFAR-10' if self.dataset == 'cifar10' else self.dataset}."


def find_model(source=None) -> ModelSource:
    """Find a model file and check that it is one, without loading it.

    Args:
        source: None for the newest run with weights, or, where there is none, the weights that
            ship with the package; a run folder; or a `.keras` or `.h5` file.

    Returns:
        A `ModelSource`, with what the `run.json` beside the file tells.

    Raises:
        RunError: If the run has no weights yet.
        ModelError: If the file is missing or is no Keras model.
    """
    if source is None:
        from cifar_utils.runs import latest_run_with_weights

        run = latest_run_with_weights()
        if run is None:
            return _find_shipped()
        source = run.dir
    path = Path(source).expanduser()
    path = _weights_of_run(path) if path.is_dir() else path
    _check_file(path)
    return _describe_source(path)


def _find_shipped():
    """Return where the weights that ship with the package lie."""
    from cifar_utils.pretrained import WEIGHTS_DIR, read_card

    name = read_card()["name"]
    return ModelSource(WEIGHTS_DIR / f"{name}.npz", recipe=name, dataset="cifar10", shipped=True)


def _weights_of_run(folder):
    """Return the model file of a run folder."""
    for name in ("model.keras", "model1.h5"):
        if (folder / name).is_file():
            return folder / name
    if (folder / "run.json").is_file():
        raise RunError(
            f"The run {folder.name} has no model.keras yet: its training has not finished. Continue"
            f" it with 'python -m cifar_utils run --name {folder.name} --resume'."
        )
    raise RunError(
        f"{folder} is no run folder: it holds neither model.keras nor run.json. Give a folder from "
        f"outputs/runs, or a .keras or .h5 file. {HOW_TO_GET_A_RUN}"
    )


def _check_file(path):
    """Refuse what is no Keras model file before Keras gives it a longer name."""
    if not path.is_file():
        raise ModelError(
            f"There is no file {path}. Give a .keras or .h5 file or a run folder; "
            f"relative paths start at {Path.cwd()}."
        )
    if path.suffix.lower() not in (".keras", ".h5", ".hdf5"):
        raise ModelError(
            f"{path.name} is no model file by its name. Expected is one that ends in .keras or .h5;"
            " a picture goes into image_path, not model_path."
        )
    if path.suffix.lower() == ".keras":
        if not zipfile.is_zipfile(path):
            raise ModelError(
                f"{path.name} is no Keras model or is cut short. Copy it again, or save it again "
                "with model.save('name.keras')."
            )
        return
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


def _describe_source(path):
    """Read the `run.json` beside a model file, if there is one."""
    try:
        run = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))
        recipe = run.get("recipe")
        recipe = recipe.get("name") if isinstance(recipe, dict) else recipe
        dataset = (run.get("dataset") or {}).get("name")
        return ModelSource(path, run.get("name") or path.parent.name, recipe, dataset)
    except (OSError, ValueError, AttributeError):
        return ModelSource(path)


def load_keras_model(path):
    """Load a whole Keras model for inference; this imports Keras and its backend.

    Raises:
        ModelError: If this version of Keras cannot load it.
    """
    from cifar_utils.backend import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises anything from KeyError to zipfile.BadZipFile
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(
            f"Keras {keras.__version__} cannot load {path.name}: {reason} Some Keras files load "
            "only in the version that wrote them (a run's run.json names it); install that one, or "
            "train again."
        ) from error
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = False  # XLA halves the speed on a CPU, and compiling takes seconds
    return model


def check_shapes(model, path, num_classes):
    """Refuse, by ModelError, a model that does not take 32×32×3 or does not give ten outputs."""
    for what, tensors, expected in (
        ("takes", model.inputs, (IMAGE_SIZE, IMAGE_SIZE, 3)),
        ("gives", model.outputs, (num_classes,)),
    ):
        shapes = [tuple(tensor.shape[1:]) for tensor in tensors or ()]
        if shapes != [expected]:
            found = " and ".join(map(str, shapes)) or "nothing known"
            raise ModelError(
                f"{path.name} does not fit: per image it {what} {found}, expected is {expected}. "
                "The classifier needs RGB images of 32x32 in and one probability for each of "
                f"CIFAR-10's {num_classes} classes out; choose another model."
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
