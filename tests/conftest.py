"""Keeps every test away from the user's own cache and runs, and from CIFAR-10 unless marked."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Read before any test can change it: `CIFAR10_PATH` is hidden from all tests but those marked.
REAL_CIFAR10 = os.environ.get("CIFAR10_PATH", "")


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory):
    """Point the package at temporary folders and the synthetic set, for this whole session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR_DATASET", "synthetic")
        patch.setenv("CIFAR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CIFAR_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("CIFAR10_PATH", raising=False)
        patch.delenv("CIFAR10_URL", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _release_memory():
    """Release what a file of tests has built: one process runs them all, in under 2 GB."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=True)
    gc.collect()


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A small pipeline run on the synthetic set, never stopped: what it printed, and the `Run`."""
    from pipeline_process import SMALL, run_command

    from cifar_utils.runs.run import Run

    folder = tmp_path_factory.mktemp("pipeline")
    done = run_command("run", "--name", "whole", *SMALL, runs_folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done, Run(folder / "whole")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel that `make wheel` builds, in a copy of the checkout and without a network."""
    from cifar_utils.paths import project_root

    root, copy = project_root(), tmp_path_factory.mktemp("wheel")
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    shutil.copytree(
        root / "cifar_utils", copy / "cifar_utils", ignore=shutil.ignore_patterns("__pycache__")
    )
    stale = copy / "build" / "lib" / "cifar_utils"  # what a build of an older version leaves
    stale.mkdir(parents=True)
    (stale / "removed_long_ago.py").touch()
    (copy / "ready").touch()
    made = subprocess.run(
        ["make", "wheel", f"BIN={Path(sys.executable).parent}", "READY=ready"],
        cwd=copy,
        capture_output=True,
        text=True,
        env={**os.environ, "PIP_NO_INDEX": "1"},
    )
    assert made.returncode == 0, made.stdout + made.stderr
    (path,) = (copy / "dist").glob("*.whl")
    return path


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    """Give one test an empty runs folder of its own."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(folder))
    return folder


@pytest.fixture
def cifar10_path(monkeypatch):
    """Give a test marked `cifar10` the real archive; skip, saying how to get it, otherwise."""
    if not REAL_CIFAR10:
        pytest.skip("real CIFAR-10 is not here: set CIFAR10_PATH to cifar-10-python.tar.gz")
    path = os.path.abspath(os.path.expanduser(REAL_CIFAR10))
    monkeypatch.setenv("CIFAR10_PATH", path)
    monkeypatch.setenv("CIFAR_DATASET", "cifar10")
    return path
