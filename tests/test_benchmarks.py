"""The benchmarks' arithmetic, on made-up measurements: what they publish is what they measured."""

import runpy

import numpy as np
import pytest

from cifar_utils.checkpoints import write_history
from cifar_utils.data import load_dataset
from cifar_utils.errors import RunError
from cifar_utils.files import project_root
from cifar_utils.opening import create_run

FOLDER = project_root() / "benchmarks"


@pytest.fixture(scope="module")
def leak():
    return runpy.run_path(str(FOLDER / "test_set_leak.py"))


@pytest.fixture(scope="module")
def against():
    return runpy.run_path(str(FOLDER / "against_documented.py"))


def make_trained_run(name, **changes):
    """Open a run of three epochs, its last one the best on validation, its first on the test."""
    parameters = {"recipe": "baseline", "dataset": "synthetic", "seed": 0, "val_fraction": 0.1}
    run = create_run(name, parameters | changes)
    write_history(run, {"epoch": [1, 2, 3], "val_accuracy": [0.5, 0.7, 0.6]})
    run.update(stages={"03_training": {"status": "done"}})
    return run


class Oracle:
    """Stands in for a network: `weights` of one number, the test images that it gets right."""

    def __init__(self, dataset):
        self.labels = dataset.test_labels

    def set_weights(self, weights):
        self.right = weights[0].item()

    def predict(self, _model, images):
        guesses = np.where(np.arange(len(images)) < self.right, self.labels, (self.labels + 1) % 10)
        return np.eye(10)[guesses]


def test_the_leak_is_what_the_test_sets_own_choice_adds(leak, runs_folder):
    run, data = make_trained_run("leaky"), load_dataset("synthetic")
    oracle = Oracle(data)
    (run.dir / "epochs").mkdir()
    for epoch, right in enumerate((800, 700, 650), start=1):
        np.savez(run.path(f"epochs/{epoch:03d}.npz"), np.array([right]))
    measure = leak["measure_leak"]
    measure.__globals__["build_model"] = lambda recipe: oracle
    measure.__globals__["predict_probs"] = oracle.predict
    result = measure(run)
    assert [choice["epoch"] for choice in result["choices"].values()] == [3, 2, 1]
    assert [choice["value"] for choice in result["choices"].values()] == [0.65, 0.7, 0.8]
    assert result["leak"] == {"over_last_epoch": 0.15, "over_validation": 0.1}
    assert result["by_epoch"]["test"] == [0.8, 0.7, 0.65]
    assert result["run"]["val_fraction"] == 0.1


@pytest.mark.parametrize("changes", [{}, {"dataset": "synthetic", "recipe": "quick"}])
def test_the_leak_is_measured_on_the_right_kind_of_run_only(leak, runs_folder, changes):
    make_trained_run("other", **changes)
    with pytest.raises(RunError, match="was opened with"):
        leak["train_all_epochs"]("other")


def test_an_epochs_weights_are_made_up_for_after_a_kill(leak, tmp_path):
    keep = leak["KeepEpochs"](tmp_path)
    keep.set_model(type("Model", (), {"get_weights": lambda self: [np.arange(3)]})())
    keep.on_epoch_begin(0)
    assert list(tmp_path.iterdir()) == []
    keep.on_epoch_begin(4)
    with np.load(tmp_path / "004.npz") as saved:
        assert saved["arr_0"].tolist() == [0, 1, 2]


def test_epochs_that_ran_dry_do_not_count(against):
    script = [
        {"images": 50_000, "train_seconds": 50.0, "epoch_seconds": 55.0},
        {"images": 32, "train_seconds": 0.1, "epoch_seconds": 5.0},
        {"images": 50_000, "train_seconds": 40.0, "epoch_seconds": 45.0},
    ]
    rounds = {
        against["DOCUMENTED"]: [script],
        "ours": [[{"images": 50_000, "train_seconds": 20.0}]],
    }
    summary = against["summarise"](rounds)
    assert summary[against["DOCUMENTED"]]["n"] == 2
    assert summary[against["DOCUMENTED"]]["images_per_second"] == 1111
    assert summary[against["DOCUMENTED"]]["epoch_seconds"] == 50.0
    assert summary["ours"]["ratio_to_documented"] == 2.25
