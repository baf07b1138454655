"""Keeps every test away from the user's own cache and runs, and from CIFAR-10 unless marked."""

import os

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


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A small pipeline run on the synthetic set, never stopped: what it printed, and the `Run`."""
    from pipeline_process import SMALL, run_command

    from cifar_utils.runs import Run

    folder = tmp_path_factory.mktemp("pipeline")
    done = run_command("run", "--name", "whole", *SMALL, runs_folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done, Run(folder / "whole")


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
