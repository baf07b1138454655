"""The stated results: kept whole, told apart by their parameters, never from synthetic data."""

import csv
import dataclasses
import json
import runpy

import pytest

from cifar_utils.errors import RunError
from cifar_utils.evaluation.metrics import DOCUMENTED
from cifar_utils.paths import project_root, write_json, write_text
from cifar_utils.runs import references
from cifar_utils.runs.recipes import get_recipe
from cifar_utils.runs.run import Run

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
            "training": {"start": 1_000_000, "end": 1_000_800},
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


def measure(at, machine="a processor, 2 cores, avx2", seconds=100):
    """Return a measurement of the documented script at a time after the run's beginning."""
    return {"time": 1_000_000 + at, "machine": machine, "documented_seconds": seconds}


@pytest.mark.parametrize(
    ("measurements", "expected"),
    [
        ([], None),
        ([measure(-3601)], None),  # more than an hour before
        ([measure(-3599)], 100),
        ([measure(800 + 3599)], 100),  # the run's end counts, not its beginning
        ([measure(800 + 3601)], None),
        ([measure(-3000), measure(1000, seconds=90)], 90),  # the nearer one
        ([measure(0, "another processor, 2 cores, avx2")], None),
        ([measure(0, "a processor, 4 cores, avx2")], None),
    ],
)
def test_the_documented_script_counts_if_measured_within_the_hour(tmp_path, measurements, expected):
    info = make_finished_run(tmp_path / "run").info
    found = KEEP["find_documented_seconds"](info, measurements)
    assert found.get("documented_seconds") == expected


def test_the_documented_epochs_that_saw_few_images_do_not_count():
    epochs = [
        {"images": 50_000, "epoch_seconds": 90.0},
        {"images": 32, "epoch_seconds": 7.0},
        {"images": 50_000, "epoch_seconds": 94.0},
    ]
    assert KEEP["DOCUMENTED"]["summarise"](epochs) == (92.0, 2)


def test_the_summary_has_six_views_and_the_ratio(reference_folder, tmp_path):
    run = make_finished_run(tmp_path / "run")
    metrics = run.read_json("metrics.json")
    run.write_json("metrics.json", metrics | {"tta": {"accuracy": {"value": 0.85}}})
    folder = KEEP["keep_run"](run)
    info = json.loads((folder / "run.json").read_text()) | {"documented_seconds": 500}
    write_json(folder / "run.json", info)
    (row,) = csv.DictReader(KEEP["summarise_references"]().read_text().splitlines())
    assert (row["accuracy_tta"], row["ratio_to_documented"]) == ("0.85", "0.02")


def test_how_a_run_was_executed_is_no_change_of_the_recipe():
    info = {"recipe": dataclasses.asdict(get_recipe("baseline"))}
    info["recipe"]["steps_per_execution"] = 7
    assert references.find_changes(info) == {}


@pytest.mark.parametrize(("backend", "changes"), [("tensorflow", {}), ("jax", {"backend": "jax"})])
def test_another_backend_is_a_change(backend, changes):
    info = {
        "recipe": dataclasses.asdict(get_recipe("quick")),
        "versions": {"keras": "3", backend: "1"},
    }
    assert references.find_changes(info) == changes


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
