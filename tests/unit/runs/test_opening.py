"""Which run a notebook continues, when it opens a new one, and what is refused."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest

from cifar_utils.errors import CifarError, ParameterError, RunError
from cifar_utils.runs.machine import Processor
from cifar_utils.runs.recipes import RECIPES
from cifar_utils.runs.run import STAGES
from cifar_utils.runs.store import (
    create_run,
    find_run,
    latest_run_with_weights,
    list_runs,
    open_run,
)
from cifar_utils.training import precision

pytestmark = pytest.mark.usefixtures("runs_folder")

FIRST, SECOND, TRAINING, *_ = STAGES
GIVEN = {"dataset": "auto", "recipe": "quick", "seed": 0}


def open_and_finish(stage, run_name="", **given):
    run = open_run(stage, run_name, **(GIVEN | given))
    run.finish_stage()
    return run


def test_an_unfinished_run_of_another_version_is_left_alone():
    """Its recipe of the same name may be another one."""
    old = open_and_finish(FIRST)
    old.update(versions={"cifar_utils": "0.1.0"})
    assert open_run(SECOND, "", **GIVEN).name != old.name


def test_a_trained_run_keeps_the_recipe_that_it_was_trained_with():
    run = open_and_finish(FIRST)
    trained = dataclasses.asdict(RECIPES["baseline"]) | {"name": "quick", "epochs": 10}
    for name in ("network", "optimizer", "sizes", "tta"):  # 0.2.0 did not know them
        del trained[name]
    run.update(recipe=json.loads(json.dumps(trained)))
    assert (run.recipe.network, run.recipe.epochs, run.recipe.tta) == ("documented", 10, False)
    assert run.recipe.sizes == ((32, 1.0),)
    run.update(parameters={"epochs": 4})
    assert run.recipe.epochs == 4


def test_bfloat16_is_refused_before_a_run_is_opened(runs_folder, monkeypatch):
    monkeypatch.setattr(precision, "find_nvidia_gpus", lambda: [])
    processor = Processor("an old processor", 2, ("avx2",), False)
    monkeypatch.setattr(precision, "detect_processor", lambda: processor)
    with pytest.raises(ParameterError, match="an old processor would emulate it"):
        open_run(TRAINING, "", **GIVEN, precision="bfloat16")
    assert not runs_folder.exists()


def test_without_any_run_a_new_one_is_opened_and_described(runs_folder):
    run = open_run(FIRST, "", dataset="auto", seed=3)
    assert run.dir.parent == runs_folder
    assert run.name.endswith("-quick")
    info = json.loads((run.dir / "run.json").read_text())
    assert info["status"] == "running"
    assert info["name"] == run.name
    assert info["parameters"] == {"dataset": "auto", "seed": 3}
    assert info["seed"] == 3
    assert info["dataset"]["name"] == run.dataset_name == "synthetic"
    assert (info["dataset"]["n_train"], info["dataset"]["n_test"]) == (5000, 1000)
    assert info["dataset"]["fingerprint"] == run.dataset.fingerprint
    assert info["stages"][FIRST]["status"] == "running"
    assert info["versions"]["python"].count(".") == 2


def test_notebooks_opened_one_after_the_other_share_a_run():
    names = {open_and_finish(stage).name for stage in (FIRST, SECOND, TRAINING)}
    assert len(names) == 1


def test_a_finished_stage_run_again_opens_a_new_run():
    first = open_and_finish(FIRST)
    second = open_and_finish(FIRST)
    assert first.name != second.name
    assert [run.name for run in list_runs()] == [second.name, first.name]
    assert open_run(SECOND, **GIVEN).name == second.name


def test_a_stage_that_failed_is_tried_again_in_its_run():
    first = open_run(SECOND, **GIVEN)  # never finished
    assert open_run(SECOND, **GIVEN).name == first.name
    assert open_run(TRAINING, **GIVEN).name == first.name


def test_the_newest_unfinished_run_is_continued_also_past_a_finished_one():
    older = open_and_finish(FIRST)
    newer = open_and_finish(FIRST)
    open_and_finish(SECOND, newer.name)
    assert open_run(SECOND, **GIVEN).name == older.name


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"recipe": "baseline"}, {"rotation": 5}, {"dataset": "cifar10"}]
)
def test_other_parameters_open_a_new_run_or_are_refused_by_name(change, monkeypatch):
    first = open_and_finish(SECOND, rotation=None)
    before = first.info
    with pytest.raises(RunError, match=f"opened with {next(iter(change))} .*another name"):
        open_run(TRAINING, first.name, **(GIVEN | change))
    assert first.info == before
    if "dataset" not in change:
        assert open_run(TRAINING, **(GIVEN | change)).name != first.name


def test_auto_goes_with_the_data_set_that_the_run_has():
    first = open_and_finish(FIRST, dataset="synthetic")
    assert open_and_finish(SECOND, dataset="auto").name == first.name
    assert open_and_finish(TRAINING, dataset="synthetic").name == first.name
    assert first.dataset_name == "synthetic"


def test_a_named_run_is_made_once_and_then_continued():
    first = open_and_finish(FIRST, "mine")
    assert first.name == "mine"
    assert open_and_finish(SECOND, "mine").dir == first.dir
    with pytest.raises(RunError, match=r"mine exists already.*--name mine --resume"):
        create_run("mine", GIVEN)


def test_two_runs_of_the_same_second_get_two_folders():
    names = [create_run("", GIVEN).name for _ in range(3)]
    assert len(set(names)) == 3


def test_none_takes_what_the_run_fixed_and_else_the_recipes_own():
    open_and_finish(SECOND, "mine", rotation=5.0, shift=None)
    run = open_and_finish(TRAINING, "mine", rotation=None, epochs=None)
    assert run.parameters["rotation"] == 5.0
    assert run.parameters["shift"] == RECIPES["quick"].shift
    assert run.parameters["epochs"] == run.recipe.epochs == RECIPES["quick"].epochs
    assert run.recipe.rotation == 5.0


def test_none_takes_the_own_value_of_the_recipe_that_the_run_fixed():
    open_and_finish(FIRST, "mine", recipe="baseline")
    run = open_run(TRAINING, "mine", dataset="auto", epochs=None)
    assert run.parameters["epochs"] == 100
    assert run.recipe.name == "baseline"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": 0}, "epochs must be"),
        ({"recipe": "quik"}, "Did you mean 'quick'"),
        ({"run_name": "../outside"}, "names a folder"),
        ({"run_name": "/tmp"}, "names a folder"),
    ],
)
def test_a_wrong_parameter_leaves_no_trace(runs_folder, given, message):
    with pytest.raises(ParameterError, match=message):
        open_run(FIRST, **given)
    assert not runs_folder.exists()


@pytest.mark.parametrize("name", ["../outside", "..", ".", "inside/../../outside"])
def test_no_name_leads_out_of_the_runs_folder(runs_folder, name):
    for folder in (runs_folder / "inside", runs_folder.parent / "outside"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "run.json").write_text("{}")
        (folder / "run.json").write_text("{}")
    with pytest.raises(CifarError):
        find_run(name)


def test_an_unknown_run_is_told_with_the_nearest():
    with pytest.raises(RunError, match="There is no run yet"):
        find_run("mine")
    create_run("my-run", GIVEN)
    with pytest.raises(RunError, match="Did you mean 'my-run'"):
        find_run("my-rum")


def test_a_full_disk_is_told_before_anything_is_made(runs_folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e6))
    with pytest.raises(CifarError, match="1 MB free"):
        open_run(FIRST, **GIVEN)
    assert not runs_folder.exists()


def test_a_folder_without_a_run_is_not_told_to_be_continued(runs_folder):
    (runs_folder / "half-made").mkdir(parents=True)
    with pytest.raises(RunError, match="holds no run"):
        create_run("half-made", GIVEN)


def test_the_newest_run_with_weights_is_the_newest_that_has_some():
    assert latest_run_with_weights() is None
    trained, _ = create_run("trained", GIVEN), create_run("newer", GIVEN)
    trained.path("model.keras").write_bytes(b"weights")
    assert latest_run_with_weights().name == "trained"
