"""The same trainings with JAX, in an environment without TensorFlow: `make test-jax`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cifar_utils.paths import project_root
from cifar_utils.runs.recipes import RECIPES

pytestmark = pytest.mark.jax
STEPS = project_root() / "tests" / "twenty_steps.py"
PYTHONS = {"tensorflow": sys.executable, "jax": os.environ.get("CIFAR_JAX_PYTHON", "")}


def run(backend, *arguments, **environment):
    """Run Python in a backend's environment; returns the `CompletedProcess`."""
    assert PYTHONS[backend], "CIFAR_JAX_PYTHON is not set: run these by `make test-jax`"
    return subprocess.run(
        [PYTHONS[backend], *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "CIFAR_DATASET": "synthetic",
            "PYTHONPATH": os.pathsep.join([str(STEPS.parent), str(project_root())]),
            **environment,
        },
    )


def test_there_is_no_tensorflow():
    done = run("jax", "-c", "import tensorflow")
    assert "No module named 'tensorflow'" in done.stderr


def measure_drift(key, start, ours, theirs):
    """Return how far two sets of weights are apart, over how far the first has come."""
    moved = sum(np.sum((ours[f"{key}{i}"] - before) ** 2) for i, before in enumerate(start))
    apart = sum(np.sum((ours[f"{key}{i}"] - theirs[f"{key}{i}"]) ** 2) for i in range(len(start)))
    return np.sqrt(apart / moved)


@pytest.mark.parametrize("name", RECIPES)
def test_twenty_steps_from_the_same_weights_agree(name, tmp_path):
    found = {}
    for backend in PYTHONS:
        done = run(backend, STEPS, name, tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(tmp_path / f"{backend}.npz") as saved:
            found[backend] = dict(saved)
    ours, theirs = found["tensorflow"], found["jax"]
    assert not theirs["tensorflow"]
    assert len(ours["losses"]) == 20
    assert ours["losses"][0] == pytest.approx(theirs["losses"][0], rel=1e-5)
    assert ours["losses"][-1] < ours["losses"][0]
    with np.load(tmp_path / "start.npz") as saved:
        start = [saved[key] for key in saved.files]
    # One step differs by rounding alone. Muon lifts the faintest directions of a gradient, which
    # are rounding, to full length: so twenty steps drift apart, and yet see the same losses.
    assert measure_drift("first", start, ours, theirs) < 0.01
    assert measure_drift("w", start, ours, theirs) < 0.4
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=0.06)
    assert np.mean(ours["probs"].argmax(axis=1) == theirs["probs"].argmax(axis=1)) > 0.8


TRAIN = """
from cifar_utils.runs import open_run
from tiny_runs import StopAt, train

run = open_run("03_training", "jax", dataset="synthetic", recipe="quick", seed=0, epochs=2)
train(run, fits=[[StopAt(1, 3)], []])
run.finish_stage()
"""


def test_a_run_is_trained_recorded_and_repeated_but_for_rounding(tmp_path):
    histories = []
    for folder in ("first", "second"):
        done = run("jax", "-c", TRAIN, CIFAR_RUNS_DIR=str(tmp_path / folder))
        assert done.returncode == 0, done.stderr[-3000:]
        run_dir = tmp_path / folder / "jax"
        info = json.loads((run_dir / "run.json").read_text())
        assert {"keras", "jax"} < set(info["versions"])
        assert "tensorflow" not in info["versions"]
        assert info["device"]
        assert (run_dir / "model.keras").exists()
        histories.append(np.loadtxt(run_dir / "history.csv", delimiter=",", skiprows=1))
    # On a busy processor JAX's sums come in another order, once in a while.
    np.testing.assert_allclose(histories[0], histories[1], rtol=0.05)


def test_the_pipeline_runs(tmp_path):
    done = run("jax", "-m", "cifar_utils", "run", "--name", "whole", CIFAR_RUNS_DIR=str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    metrics = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert metrics["accuracy"]["value"] > 0.8
    assert (tmp_path / "whole" / "report.html").exists()
