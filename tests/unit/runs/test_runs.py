"""Who may write a run, and what its folder holds."""

import io
import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from cifar_utils.errors import RunError
from cifar_utils.runs.run import STAGES, Run
from cifar_utils.runs.store import create_run, open_run

pytestmark = pytest.mark.usefixtures("runs_folder")

FIRST, SECOND, *_, LAST = STAGES
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


# Who may write it


def test_a_run_in_the_hands_of_a_living_process_is_left_alone(other_process):
    busy = open_and_finish(FIRST, "busy")
    busy.update(owner=other_process)
    assert busy.is_busy()
    assert open_run(SECOND, **GIVEN).name != "busy"
    before = busy.info
    with pytest.raises(RunError, match=f"in use by process {other_process['pid']}"):
        open_run(SECOND, "busy", **GIVEN, epochs=1)  # not even a parameter that is not fixed yet
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
