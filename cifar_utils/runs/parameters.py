"""Every parameter of the notebooks: its type, its range, its help text. Written once, here.

The parameter cells repeat name, type and help, and a test compares the two. `None` in a notebook
means "the recipe's own value".
"""

import ast
import re
import sys
from dataclasses import dataclass

from cifar_utils.data import DATASET_NAMES
from cifar_utils.errors import ParameterError
from cifar_utils.text import suggest

RECIPE_NAMES = ("quick", "fast", "accurate", "baseline")


@dataclass(frozen=True)
class Parameter:
    """What one parameter accepts."""

    type: type  # int, float, bool or str
    help: str  # one line without `#`, `=` and `|`, which papermill's reader cannot read
    low: float | None = None
    high: float | None = None
    choices: tuple | None = None

    def describe(self):
        """Say in words what is accepted, such as "an integer from 1 to 10000"."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        noun = {int: "an integer", float: "a number", bool: "true or false", str: "text"}[self.type]
        return noun if self.low is None else f"{noun} from {self.low} to {self.high}"


PARAMETERS = {
    "run_name": Parameter(str, "folder under outputs/runs; empty continues or opens one by itself"),
    "dataset": Parameter(str, "auto, cifar10 or synthetic", choices=DATASET_NAMES),
    "recipe": Parameter(
        str, "quick, fast, accurate or baseline (the original)", choices=RECIPE_NAMES
    ),
    "seed": Parameter(int, "split, first weights, order and augmentation", 0, 2**31 - 1),
    "val_fraction": Parameter(float, "share of the training images held out", 0, 0.5),
    "rotation": Parameter(float, "largest random rotation in degrees", 0, 180),
    "shift": Parameter(float, "largest random shift as a share of the side", 0, 0.5),
    "flip": Parameter(bool, "mirror half of the images left to right"),
    "zoom_out": Parameter(
        float, "smallest size of a training image as a share of its own", 0.25, 1
    ),
    "cutout": Parameter(int, "side of a grey square in each training image, in pixels", 0, 24),
    "epochs": Parameter(int, "passes over the training images", 1, 10_000),
    "batch_size": Parameter(int, "images per step", 1, 10_000),
    "learning_rate": Parameter(float, "largest step size", 1e-7, 10),
    "schedule": Parameter(
        str,
        "code or prose (the original), cosine or linear",
        choices=("code", "prose", "cosine", "linear"),
    ),
    "precision": Parameter(
        str,
        "auto, float32 or bfloat16; auto takes the faster one",
        choices=("auto", "float32", "bfloat16"),
    ),
    "deterministic": Parameter(
        bool, "same seed and machine give the same history, byte for byte (with TensorFlow)"
    ),
    "demo": Parameter(
        bool, "fit the original network for a few epochs first; the run itself stays the same"
    ),
    "model_path": Parameter(
        str, "a model file, a run folder or a shipped model; empty takes the shipped default"
    ),
    "image_path": Parameter(str, "a photo to classify; empty takes one that is bundled"),
    "test_index": Parameter(int, "which test image to classify", 0, 9999),
}

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# papermill's own, from its options --inject-paths, --inject-input-path, --inject-output-path.
INJECTED_BY_PAPERMILL = re.compile(r"PAPERMILL_[A-Z_]+")


def check_notebook(**given):
    """Check a notebook's parameters, and the names that papermill put into the notebook.

    Papermill only logs a name that no cell reads, so that `-p epocs 5` would do nothing. Use the
    returned values in the notebook: `-r seed 5` gives the notebook a text.

    Args:
        **given: The notebook's parameters by name.

    Returns:
        A dict of the checked values; see `check_parameters`.

    Raises:
        ParameterError: If a name, type or value is not valid.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    for source in shell.user_ns.get("In", []) if shell else []:
        if source.startswith("# Parameters\n"):  # how papermill begins the cell that it injects
            nodes = ast.walk(ast.parse(source))
            stored = (n.id for n in nodes if isinstance(n, ast.Name) and n.id not in given)
            for name in stored:
                if not INJECTED_BY_PAPERMILL.fullmatch(name):
                    check_parameter(name, None)  # a name that no notebook takes
                    told = suggest(name, given)
                    raise ParameterError(f"This notebook takes no parameter {name!r}. {told}")
    return check_parameters(given)


def check_parameters(given):
    """Check names, types and ranges, and turn text from a command line into values.

    Args:
        given: Name to value; a value may be text ("5"), its own type, or None for the recipe's own.

    Returns:
        A new dict with every value of its parameter's type. None stays None.

    Raises:
        ParameterError: For an unknown name (with the nearest valid one), a wrong type, or a value
            out of range.
    """
    return {name: check_parameter(name, value) for name, value in given.items()}


def check_parameter(name, value):
    """Check one parameter; see `check_parameters`."""
    if name not in PARAMETERS:
        raise ParameterError(f"There is no parameter {name!r}. {suggest(name, PARAMETERS)}")
    if value is None:
        return None
    parameter = PARAMETERS[name]
    value = _convert(name, parameter, value)
    if parameter.choices and value not in parameter.choices:
        raise ParameterError(f"There is no {name} {value!r}. {suggest(value, parameter.choices)}")
    # Written so that NaN, which compares false with everything, is refused too.
    if parameter.low is not None and not parameter.low <= value <= parameter.high:
        raise ParameterError(f"{name} must be {parameter.describe()}, not {value!r}.")
    if name == "run_name" and value and not RUN_NAME.fullmatch(value):
        raise ParameterError(
            f"run_name names a folder: letters, digits, '.', '_' and '-', not {value!r}."
        )
    return value


def _convert(name, parameter, value):
    """Return `value` as its parameter's type, or say what was expected."""
    wrong = ParameterError(f"{name} must be {parameter.describe()}, not {value!r}.")
    if parameter.type is bool:
        words = dict.fromkeys(TRUE_WORDS, True) | dict.fromkeys(FALSE_WORDS, False)
        if str(value).lower() not in words:
            raise wrong
        return words[str(value).lower()]
    # bool is a subclass of int: True would pass for 1 epoch.
    if isinstance(value, bool) or (parameter.type is str and not isinstance(value, str)):
        raise wrong
    try:
        number = parameter.type(value) if parameter.type is str else float(value)
        if parameter.type is int and number.is_integer():
            number = int(number)  # also of 1e3 and "7.0"
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if not isinstance(number, parameter.type):
        raise wrong
    return number
