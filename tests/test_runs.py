"""Which run a notebook takes, who may write it, and what its folder holds."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from cifar_utils.errors import CifarError, ParameterError, RunError
from cifar_utils.opening import create_run, open_run
from cifar_utils.runs import (
    STAGES,
    Run,
    find_run,
    latest_run_with_weights,
    list_runs,
)

pytestmark = pytest.mark.usefixtures("runs_folder")

FIRST, SECOND, TRAINING, FOURTH, LAST = STAGES
GIVEN = {"dataset": "auto", "recipe": "quick", "seed": 0}


@pytest.fixture
def other_process():
    """Return the owner entry of a living process that is not this one."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    process.kill()
    process.communicate()


def open_and_finish(stage, run_name="", **given):
    run = open_run(stage, run_name, **(GIVEN | given))
    run.finish_stage()
    return run


# Which run


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
    assert run.parameters["shift"] == 0.1
    assert run.parameters["epochs"] == run.recipe.epochs == 8
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


def test_the_newest_run_with_weights_is_the_newest_that_has_some():
    assert latest_run_with_weights() is None
    trained, _ = create_run("trained", GIVEN), create_run("newer", GIVEN)
    trained.path("model.keras").write_bytes(b"weights")
    assert latest_run_with_weights().name == "trained"


# Who may write it


def test_a_run_in_the_hands_of_a_living_process_is_left_alone(other_process):
    busy = open_and_finish(FIRST, "busy")
    busy.update(owner=other_process)
    assert busy.is_busy()
    assert open_run(SECOND, **GIVEN).name != "busy"
    before = busy.info
    with pytest.raises(RunError, match=f"in use by process {other_process['pid']}"):
        open_run(SECOND, "busy", **GIVEN)
    assert busy.info == before


def test_a_dead_owner_or_another_process_of_its_number_holds_nothing(other_process):
    run = open_and_finish(FIRST, "orphan")
    run.update(owner={"pid": other_process["pid"], "created": other_process["created"] - 60})
    assert not run.is_busy()
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    run.update(owner={"pid": int(done.stdout), "created": time.time()})
    assert not run.is_busy()
    assert open_run(SECOND, **GIVEN).name == "orphan"


def test_a_killed_owner_that_nobody_has_reaped_holds_nothing():
    run = create_run("orphan", GIVEN)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = psutil.Process(process.pid)
    run.update(owner={"pid": process.pid, "created": owner.create_time()})
    assert run.is_busy()
    process.kill()
    while owner.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    try:
        assert not run.is_busy()
    finally:
        process.communicate()


def test_this_process_may_go_on_with_its_own_run():
    run = open_run(FIRST, "mine", **GIVEN)
    assert run.info["owner"]["pid"] == os.getpid()
    assert not run.is_busy()
    assert open_run(FIRST, "mine", **GIVEN).dir == run.dir


# What it holds


def test_a_run_is_done_when_all_its_stages_are():
    for stage in STAGES[:-1]:
        run = open_and_finish(stage, "mine")
    assert run.info["status"] == "open"
    run.start_stage(LAST)
    assert "results in" in run.finish_stage()
    assert run.info["status"] == "done"
    assert run.info["owner"] is None
    assert list(run.info["seconds"]) == list(STAGES)
    events = [json.loads(line) for line in run.path("events.jsonl").read_text().splitlines()]
    told = [(event["event"], event["stage"]) for event in events]
    assert told == [(event, stage) for stage in STAGES for event in ("stage_start", "stage_end")]


def test_updates_are_merged_one_level_deep():
    run = create_run("mine", GIVEN)
    run.update(versions={"keras": "3"}, device="cpu", seconds={"training": 1.5})
    run.update(seconds={"other": 2})
    assert run.info["versions"].keys() >= {"keras", "python"}
    assert run.info["seconds"] == {"training": 1.5, "other": 2}
    assert run.info["device"] == "cpu"


def test_a_damaged_json_is_named_with_the_way_out():
    run = create_run("mine", GIVEN)
    run.path("metrics.json").write_text('{"accuracy": ')
    with pytest.raises(RunError, match=r"metrics\.json is not valid JSON.*delete"):
        run.read_json("metrics.json")
    assert run.read_json("nothing.json") == {}


def test_a_run_refuses_data_that_has_changed_since():
    run = create_run("mine", GIVEN)
    run.update(dataset={"fingerprint": "sha256:other"})
    with pytest.raises(RunError, match="opened with sha256:other"):
        _ = Run(run.dir).dataset


def make_figure(title="Loss"):
    figure = Figure(figsize=(4, 2))
    figure.suptitle(title)
    return figure


ALT = "Loss falls from 2.3 to 0.9 → flat · 95 %"


def test_a_figure_is_saved_and_shown_with_its_text_alternative():
    run = create_run("mine", GIVEN)
    shown = run.show_figure(make_figure(), "loss", ALT)
    saved = run.path("figures/loss.png").read_bytes()
    assert shown.data == saved
    picture = Image.open(io.BytesIO(saved))
    assert picture.text["Description"] == ALT
    assert picture.width == 2 * shown.width
    data, metadata = DisplayFormatter().format(shown)
    assert "image/png" in data
    assert metadata["image/png"]["alt"] == ALT


def test_figures_of_synthetic_data_say_so_once():
    run = create_run("mine", GIVEN)
    figure = make_figure("Loss")
    run.show_figure(figure, "loss", ALT)
    assert figure.get_suptitle() == "SYNTHETIC DATA · Loss"
    run.show_figure(figure, "loss", ALT)  # a cell run again
    assert figure.get_suptitle() == "SYNTHETIC DATA · Loss"


def test_figures_of_cifar10_keep_their_title():
    run = create_run("mine", GIVEN)
    run.update(dataset={"name": "cifar10"})
    figure = make_figure("Loss")
    run.show_figure(figure, "loss", ALT)
    assert figure.get_suptitle() == "Loss"
