"""The stated results: kept whole, told apart by their parameters, never from synthetic data."""

import csv
import dataclasses
import json
import runpy

import pytest

from cifar_utils import references
from cifar_utils.errors import RunError
from cifar_utils.evaluation import DOCUMENTED
from cifar_utils.files import project_root, write_json, write_text
from cifar_utils.recipes import get_recipe
from cifar_utils.runs import Run

KEEP = runpy.run_path(str(project_root() / "benchmarks" / "keep_reference.py"))


@pytest.fixture
def reference_folder(tmp_path, monkeypatch):
    """Let references lie in a folder of this test's own."""
    monkeypatch.setattr(references, "project_root", lambda: tmp_path)
    return tmp_path / "outputs" / "reference"


def make_finished_run(folder, dataset="cifar10", **changes):
    """Write what a finished run of `baseline` leaves, with made-up numbers."""
    run = Run(folder)
    run.write_json(
        "run.json",
        {
            "status": "done",
            "seed": 3,
            "recipe": dataclasses.asdict(get_recipe("baseline", **changes)),
            "dataset": {"name": dataset, "source": "/home/ada/cifar.tar.gz"},
            "seconds": {"training": 10.0},
            "device": "a processor",
            "threads": 2,
            "owner": {"pid": 1},
        },
    )
    metrics = {name: {"value": 0.8, "low": 0.79, "high": 0.81} for name in DOCUMENTED}
    run.write_json("metrics.json", metrics)
    run.write_json("preprocessing.json", {})
    write_text(run.path("history.csv"), "epoch\n")
    for name in ("confusion_matrix", "training_curves"):
        write_text(run.path(f"figures/{name}.png"), "picture")
    return run


def test_a_finished_run_is_kept_and_read_back(reference_folder, tmp_path):
    folder = KEEP["keep_run"](make_finished_run(tmp_path / "run"))
    assert folder == reference_folder / "baseline" / "seed-3"
    (found,) = references.load_references("baseline")
    assert (found.recipe, found.seed, found.changes, found.title) == ("baseline", 3, {}, "seed 3")
    assert found.metrics["accuracy"]["value"] == 0.8
    assert found.info["dataset"]["source"] == "cifar.tar.gz"
    assert "owner" not in found.info
    assert references.load_references("quick") == []


def test_a_run_with_other_parameters_has_a_name_of_its_own(reference_folder, tmp_path):
    KEEP["keep_run"](make_finished_run(tmp_path / "a"))
    KEEP["keep_run"](make_finished_run(tmp_path / "b", val_fraction=0.1))
    names = [reference.folder.name for reference in references.load_references()]
    assert names == ["seed-3", "seed-3-val_fraction-0.1"]
    assert references.load_references()[1].title == "seed 3, val_fraction 0.1"
    rows = list(csv.DictReader(KEEP["summarise_references"]().read_text().splitlines()))
    assert [row["changes"] for row in rows] == ["", "val_fraction=0.1"]


def test_how_a_run_was_executed_is_no_change_of_the_recipe():
    info = {"recipe": dataclasses.asdict(get_recipe("baseline"))}
    info["recipe"]["steps_per_execution"] = 7
    assert references.find_changes(info) == {}


@pytest.mark.parametrize("how", ["synthetic", "unfinished"])
def test_what_is_no_result_is_not_kept(how, reference_folder, tmp_path):
    run = make_finished_run(
        tmp_path / "run", dataset="synthetic" if how == "synthetic" else "cifar10"
    )
    if how == "unfinished":
        run.update(status="interrupted")
    with pytest.raises(RunError, match="is not a finished run on CIFAR-10"):
        KEEP["keep_run"](run)
    assert not reference_folder.exists()


def test_without_a_checkout_there_are_no_references(reference_folder):
    assert references.load_references() == []
    assert references.load_leak() is None


def test_the_leak_is_read_where_the_benchmark_writes_it(reference_folder):
    write_json(reference_folder / references.LEAK_FILE, {"leak": {}})
    assert references.load_leak() == {"leak": {}}


def test_the_committed_summary_is_made_of_the_committed_runs():
    path = references.reference_dir() / "summary.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    found = references.load_references()
    assert len(rows) == len(found) > 0
    for row, reference in zip(rows, found, strict=True):
        info = json.loads((reference.folder / "run.json").read_text(encoding="utf-8"))
        assert (row["recipe"], int(row["seed"])) == (info["recipe"]["name"], info["seed"])
        assert float(row["accuracy"]) == reference.metrics["accuracy"]["value"]
        assert float(row["train_seconds"]) == info["seconds"]["training"]
