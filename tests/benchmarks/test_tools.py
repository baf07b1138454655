"""Reference runs and shipped weights: made of finished runs on CIFAR-10 alone."""

import csv
import dataclasses
import json

import pytest
import references
import ship_weights

from cifar_utils.errors import RunError
from cifar_utils.evaluation import DOCUMENTED
from cifar_utils.inference.pretrained import WEIGHTS_DIR, list_pretrained, read_card
from cifar_utils.paths import write_json, write_text
from cifar_utils.runs import Run, get_recipe, list_references, store


@pytest.fixture
def reference_folder(tmp_path, monkeypatch):
    """Let references be kept in a folder of this test's own."""
    for module in (store, references):
        monkeypatch.setattr(module, "reference_dir", lambda: tmp_path / "reference")
    return tmp_path / "reference"


def make_finished_run(folder, dataset="cifar10", **changes):
    """Write what a finished run of `baseline` leaves, with made-up numbers."""
    run = Run(folder)
    info = {
        "status": "done",
        "seed": 3,
        "recipe": dataclasses.asdict(get_recipe("baseline", **changes)),
        "dataset": {"name": dataset, "source": "/home/ada/cifar.tar.gz"},
        "seconds": {"training": 10.0},
        "device": "a processor",
        "threads": 2,
        "training": {"start": 1_000_000, "end": 1_000_800},
    }
    run.write_json("run.json", info)
    metrics = {name: {"value": 0.8, "low": 0.79, "high": 0.81} for name in DOCUMENTED}
    run.write_json("metrics.json", metrics | {"tta": {"accuracy": {"value": 0.85}}})
    run.write_json("preprocessing.json", {})
    write_text(run.path("history.csv"), "epoch\n")
    return run


def test_finished_runs_are_kept_summarised_and_told_apart(reference_folder, tmp_path):
    references.keep_run(make_finished_run(tmp_path / "a"))
    folder = references.keep_run(make_finished_run(tmp_path / "b", val_fraction=0.1))
    assert [run.dir.name for run in list_references()] == ["seed-3", "seed-3-val_fraction-0.1"]
    info = json.loads((folder / "run.json").read_text())
    assert info["dataset"]["source"] == "cifar.tar.gz"
    write_json(folder / "run.json", info | {"documented_seconds": 500})
    plain, changed = csv.DictReader(references.summarise_references().splitlines())
    assert (plain["changes"], plain["ratio_to_documented"]) == ("", "")
    assert (changed["changes"], changed["ratio_to_documented"]) == ("val_fraction=0.1", "0.02")
    assert (changed["accuracy"], changed["accuracy_tta"]) == ("0.8", "0.85")


def test_what_is_no_result_is_not_kept(reference_folder, tmp_path):
    for dataset, status in (("synthetic", "done"), ("cifar10", "interrupted")):
        run = make_finished_run(tmp_path / "run", dataset)
        run.write_json("run.json", run.info | {"status": status})
        with pytest.raises(RunError, match="'run'"):
            references.keep_run(run)
    assert not reference_folder.exists()


def measure(at, machine="a processor, 2 cores, avx2", seconds=100):
    """Return a measurement of the original script at a time after the run's beginning."""
    return {"time": 1_000_000 + at, "machine": machine, "documented_seconds": seconds}


@pytest.mark.parametrize(
    ("measurements", "expected"),
    [
        ([], None),
        ([measure(-3601)], None),  # more than an hour before
        ([measure(800 + 3599)], 100),  # the run's end matters, not its beginning
        ([measure(-3000), measure(1000, seconds=90)], 90),  # the nearer one
        ([measure(0, "a processor, 4 cores, avx2")], None),
    ],
)
def test_the_original_script_is_compared_if_measured_within_the_hour(measurements, expected):
    times = 1_000_000, 1_000_800
    found = references.find_nearest(measurements, "a processor, 2 cores", *times)
    assert (found or {}).get("documented_seconds") == expected


# ---------- shipped weights -----------------------------------------------------------------------


@pytest.mark.parametrize("name", list_pretrained())
def test_a_model_card_is_what_its_numbers_say(name):
    text = (WEIGHTS_DIR / f"{name}.md").read_text(encoding="utf-8")
    assert text == ship_weights.render_card(read_card(name))


def test_the_best_in_its_last_epoch_ships(tmp_path):
    runs = []
    for name, accuracy in (("a", 0.9), ("b", 0.94)):
        runs.append(make_finished_run(tmp_path / name, val_fraction=0.1))
        write_text(runs[-1].path("history.csv"), f"epoch,val_accuracy\n1,0.99\n2,{accuracy}\n")
    assert ship_weights.choose_run(runs).name == "b"
    few = make_finished_run(tmp_path / "d", val_fraction=0.03)
    with pytest.raises(RunError, match="2,000 images"):
        ship_weights.choose_run([few])
