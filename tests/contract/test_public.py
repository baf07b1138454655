"""What users import: the names at the top, the paths of 0.7.0, and how light they are."""

import ast
import runpy
import subprocess
import sys

import pytest

import cifar_utils
from cifar_utils.paths import project_root

ROOT = project_root()
# Imports go to the right only. What is in no room (errors, paths, text, backend) is below all.
ROOMS = ("apps", "inference", "evaluation", "training", "models", "runs", "data")
FRONT_DOOR = ("cifar_utils", "cifar_utils.__main__")


def run_python(code):
    """Run code in a fresh process and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def find_room(module):
    """Return a module's room: one of `ROOMS`, "plots", or "" for what is below all rooms."""
    room = module.split(".")[1] if "." in module else ""
    return room if room in (*ROOMS, "plots") else ""


def find_upward_imports(module, source):
    """Return what a module must not import, also inside functions and by a module's name as text.

    `plots` is beside the rooms: everything may draw, and plots themselves take arrays.
    """
    imported = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from cifar_utils import training` names the room in the second place
            imported += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            imported += [node.value] if node.value.replace(".", "").isidentifier() else []
    here = find_room(module)
    allowed = {"", "plots", *ROOMS[ROOMS.index(here) :]} if here in ROOMS else {"", here}
    imported = [name for name in imported if name.startswith("cifar_utils.")]
    return [name for name in imported if find_room(name) not in allowed]


def test_the_public_names_are_at_the_top():
    from cifar_utils import Classifier, load_dataset, load_pretrained, show_classifier

    assert Classifier.load
    assert all(map(callable, (load_dataset, load_pretrained, show_classifier)))
    assert set(cifar_utils.__all__) <= set(dir(cifar_utils))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cifar_utils.no_such_name


def test_the_paths_of_version_0_7_go_on_working_and_say_where_things_are_now():
    code = """
import warnings
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as told:
    from cifar_utils.inference import Classifier
    from cifar_utils.pretrained import load_pretrained
    from cifar_utils.web.app import create_app
    from cifar_utils.widget import show_classifier
import cifar_utils
assert Classifier is cifar_utils.Classifier
assert load_pretrained is cifar_utils.load_pretrained
assert show_classifier is cifar_utils.show_classifier
assert create_app.__module__ == "cifar_utils.apps.web.app"
for warning in told:
    if issubclass(warning.category, DeprecationWarning) and "cifar_utils" in str(warning.message):
        print(str(warning.message))
"""
    told = run_python(code)
    for new in ("inference.pretrained", "apps.web.app", "apps.widget"):
        assert f"is now cifar_utils.{new}" in told
    with pytest.raises(ModuleNotFoundError):
        import cifar_utils.no_such_module  # noqa: F401


def test_importing_the_package_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); import cifar_utils;"
        "print(time.perf_counter() - start, 'numpy' in sys.modules)"
    )
    seconds, numpy = min(run_python(code).split() for _ in range(3))
    assert float(seconds) < 0.3
    assert numpy == "False"


def test_classifying_imports_neither_tensorflow_nor_keras():
    code = (
        "import sys; from cifar_utils import Classifier;"
        "from cifar_utils.inference.samples import list_samples;"
        "print(Classifier.load().predict(list_samples()['cat']).label,"
        " {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules))"
    )
    assert run_python(code) == "cat set()"


def test_rooms_import_downward_only():
    found = {}
    for path in sorted((ROOT / "cifar_utils").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        if module not in FRONT_DOOR:
            # A package's own `__init__` is in its room: a name below it says so.
            wrong = find_upward_imports(f"{module}.", path.read_text(encoding="utf-8"))
            found |= {module: wrong} if wrong else {}
    assert not found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cifar_utils.data.x", "def f():\n    from cifar_utils.runs import store"),
        ("cifar_utils.plots.x", "from cifar_utils import training"),
        ("cifar_utils.paths", "from cifar_utils.data import Dataset"),
        ("cifar_utils.runs.x", "HOMES = {'Checkpoint': 'cifar_utils.training.checkpoint'}"),
    ],
)
def test_an_import_upward_is_found(module, source):
    assert find_upward_imports(module, source)
    assert not find_upward_imports("cifar_utils.apps.x", source)


def test_the_page_of_the_public_surface_is_up_to_date():
    page = runpy.run_path(str(ROOT / "tools" / "api_page.py"))
    written = page["PAGE"].read_text(encoding="utf-8")
    assert written == page["render_page"](), "run `python tools/api_page.py`"
