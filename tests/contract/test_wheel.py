"""`make wheel` packs the whole package, and what it packs works without the checkout."""

import os
import subprocess
import sys
import zipfile

from cifar_utils.paths import project_root

# Imports every module that needs no Keras, and reads the package data.
USE = """
import importlib, pathlib, pkgutil, sys
import cifar_utils
assert cifar_utils.__file__.startswith(sys.argv[1]), cifar_utils.__file__
for module in pkgutil.walk_packages(cifar_utils.__path__, "cifar_utils."):
    if not module.name.startswith(("cifar_utils.models.", "cifar_utils.training.")):
        importlib.import_module(module.name)
from cifar_utils import Classifier
from cifar_utils.evaluation import load_label_errors
from cifar_utils.runs import Run
from cifar_utils.apps.report import save_report
print(len(load_label_errors().indices), "label errors")
print(save_report(Run(pathlib.Path("empty"))).read_text()[:15])
print(Classifier.load().source)
"""


def test_it_holds_every_file_of_the_package_and_no_other(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    root = project_root()
    package = [path for path in (root / "cifar_utils").rglob("*") if path.is_file()]
    expected = {str(path.relative_to(root)) for path in package if "__pycache__" not in path.parts}
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_it_works_where_there_is_no_checkout(wheel, tmp_path):
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", target, wheel], check=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "-c", USE, str(target)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "<!DOCTYPE html>" in done.stdout
    assert "54 label errors" in done.stdout
    assert "fast" in done.stdout
