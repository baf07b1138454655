"""Which run a notebook continues, when it opens a new one, and what is refused."""

import json
import shutil
from types import SimpleNamespace

import pytest

from cifar_utils.errors import CifarError, ParameterError, RunError
from cifar_utils.paths import project_root
from cifar_utils.runs import store
from cifar_utils.runs.recipes import RECIPES, recipe_to_json
from cifar_utils.runs.run import STAGES
from cifar_utils.runs.store import (
    create_run,
    find_reference,
    find_run,
    latest_run_with_weights,
    list_references,
    list_runs,
    open_run,
    start_trained_run,
)

pytestmark = pytest.mark.usefixtures("runs_folder")

FIRST, SECOND, TRAINING, EVALUATION, _ = STAGES
GIVEN = {"dataset": "auto", "recipe": "quick", "seed": 0}


def open_and_finish(stage, run_name="", **given):
    run = open_run(stage, run_name, **(GIVEN | given))
    run.finish_stage()
    return run


def test_without_any_run_a_new_one_is_opened_and_described(runs_folder):
    run = open_run(FIRST, "", dataset="auto", seed="3")
    assert run.dir.parent == runs_folder
    assert run.name.endswith("-quick")
    info = json.loads((run.dir / "run.json").read_text())
    assert info["status"] == "running"
    assert run.parameters == info["parameters"] == {"dataset": "auto", "seed": 3}
    assert info["seed"] == 3
    assert info["dataset"]["name"] == run.dataset.name == "synthetic"
    assert (info["dataset"]["n_train"], info["dataset"]["n_test"]) == (5000, 1000)
    assert info["dataset"]["fingerprint"] == run.dataset.fingerprint
    assert info["stages"][FIRST]["status"] == "running"


def test_a_finished_stage_run_again_opens_a_new_run():
    first, second = open_and_finish(FIRST), open_and_finish(FIRST)
    assert [run.name for run in list_runs()] == [second.name, first.name]
    open_and_finish(SECOND, second.name)
    assert open_run(SECOND, **GIVEN).name == first.name  # past the finished one


def test_an_unfinished_run_of_another_version_is_left_alone():
    """Its recipe of the same name may be another one."""
    old = open_and_finish(FIRST)
    old.update(versions={"cifar_utils": "0.1.0"})
    assert open_run(SECOND, "", **GIVEN).name != old.name


@pytest.mark.parametrize("change", [{"rotation": 5}, {"dataset": "cifar10"}])
def test_other_parameters_open_a_new_run_or_are_refused_by_name(change):
    first = open_and_finish(SECOND, rotation=None)
    before = first.info
    with pytest.raises(RunError, match=f"opened with {next(iter(change))} .*another name"):
        open_run(TRAINING, first.name, **(GIVEN | change))
    assert first.info == before
    if "dataset" not in change:
        assert open_run(TRAINING, **(GIVEN | change)).name != first.name


def test_what_does_not_change_the_training_may_differ():
    open_and_finish(TRAINING, "mine", demo=True)
    assert open_run(TRAINING, "mine", **GIVEN, demo=False).parameters["demo"] is False


def test_a_name_is_made_once_and_then_continued():
    first = open_and_finish(FIRST, "mine")
    assert open_and_finish(SECOND, "mine").dir == first.dir
    with pytest.raises(RunError, match=r"mine exists already.*--name mine --resume"):
        create_run("mine", GIVEN)
    assert len({create_run("", GIVEN).name for _ in range(3)}) == 3  # of the same second


def test_none_takes_what_the_run_fixed_and_else_the_recipes_own():
    open_and_finish(SECOND, "mine", recipe="baseline", rotation=5.0, shift=None)
    run = open_run(TRAINING, "mine", dataset="auto", rotation=None, epochs=None)
    assert run.parameters["rotation"] == run.recipe.rotation == 5.0
    assert run.parameters["shift"] == RECIPES["baseline"].shift
    assert run.parameters["epochs"] == 100
    assert run.recipe.name == "baseline"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"seed": None}, "seed must be"),
        ({"run_name": "../outside"}, "names a folder"),
    ],
)
def test_a_wrong_parameter_leaves_no_trace(runs_folder, given, message):
    with pytest.raises(ParameterError, match=message):
        open_run(FIRST, **given)
    assert not runs_folder.exists()


def test_no_name_leads_out_of_the_runs_folder(runs_folder):
    (runs_folder.parent / "outside").mkdir(parents=True)
    (runs_folder.parent / "outside" / "run.json").write_text("{}")
    with pytest.raises(CifarError):
        find_run("../outside")


def test_a_full_disk_is_told_before_anything_is_made(runs_folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e6))
    with pytest.raises(CifarError, match="1 MB free"):
        open_run(FIRST, **GIVEN)
    assert not runs_folder.exists()


def test_evaluation_takes_the_newest_run_with_weights():
    assert start_trained_run(EVALUATION) is None
    trained, _ = create_run("trained", GIVEN), create_run("newer", GIVEN)
    trained.path("model.keras").write_bytes(b"weights")
    assert latest_run_with_weights().name == start_trained_run(EVALUATION).name == "trained"
    with pytest.raises(RunError, match="'newer' has no trained weights"):
        start_trained_run(EVALUATION, "newer")
    with pytest.raises(ParameterError, match="Did you mean 'cifar10'"):
        start_trained_run(EVALUATION, dataset="cifar-10")


def test_references_are_found_by_recipe_seed_and_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "project_root", lambda: tmp_path)
    assert list_references() == []
    for name, changes in (("seed-3", {}), ("seed-3-shift-0.2", {"shift": 0.2})):
        run = store.Run(tmp_path / "outputs" / "reference" / "baseline" / name)
        recipe = recipe_to_json(RECIPES["baseline"]) | {"steps_per_execution": 7} | changes
        run.write_json("run.json", {"recipe": recipe, "seed": 3})
    assert [run.title for run in list_references("baseline")] == ["seed 3", "seed 3, shift 0.2"]
    assert find_reference("baseline", 3).name == "seed-3"
    assert find_reference("baseline", 3, shift=0.2).name == "seed-3-shift-0.2"
    assert find_reference("baseline", 4) is find_reference("quick", 3) is None


def test_a_run_json_can_be_given_away(runs_folder, monkeypatch):
    """Nothing in it is an absolute path of this machine."""
    open_run(FIRST, **GIVEN, image_path=str(runs_folder / "cat.jpg"), model_path="/home/ada/x.h5")
    (run,) = list_runs()
    text = run.path("run.json").read_text()
    assert not [path for path in (str(project_root()), str(runs_folder), "/home") if path in text]
