"""What a run folder holds, and which process may work on it."""

import io
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from cifar_utils.data.augmentation import Augmentation
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.errors import RunError
from cifar_utils.runs import RECIPES, open_run, read_history, read_preprocessing, write_history
from cifar_utils.runs.run import STAGES, Run
from cifar_utils.runs.store import create_run

pytestmark = pytest.mark.usefixtures("runs_folder")

FIRST, SECOND, *_, LAST = STAGES
GIVEN = {"dataset": "auto", "recipe": "quick", "seed": 0}


# Which process works on it


WORK = """
import sys
from cifar_utils.runs import Run
run = Run(sys.argv[1])
if sys.argv[2] == "stage":
    run.start_stage("01_data_exploration")
    print("working", flush=True)
    sys.stdin.readline()
else:
    with run.lock("pipeline"):
        print("working", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def work_elsewhere():
    """Let another process start a stage of a run, or hold it as a pipeline; returns the process."""
    processes = []

    def start(run, kind="stage"):
        command = [sys.executable, "-c", WORK, str(run.dir), kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen(command, text=True, **pipes))
        assert processes[-1].stdout.readline() == "working\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["stage", "pipeline"])
def test_a_run_that_another_process_works_on_is_left_alone(work_elsewhere, kind):
    busy = create_run("busy", GIVEN)
    process = work_elsewhere(busy, kind)
    assert busy.is_busy()
    assert open_run(SECOND, **GIVEN).name != "busy"
    before = busy.info
    with pytest.raises(RunError, match=r"'busy' is in use"):
        open_run(SECOND, "busy", **GIVEN, epochs=1)  # not even a parameter that is not fixed yet
    assert busy.info == before
    process.communicate("\n")
    assert not busy.is_busy()
    assert open_run(SECOND, "busy", **GIVEN, epochs=1).parameters["epochs"] == 1


def test_a_killed_process_holds_nothing(work_elsewhere):
    run = create_run("orphan", GIVEN)
    process = work_elsewhere(run)
    process.send_signal(signal.SIGKILL)
    with run.lock("stage", timeout=10):  # though nobody has waited for the dead process
        pass
    assert not run.is_busy()


def test_the_kernel_of_a_pipeline_works_on_the_run_that_the_pipeline_holds(
    work_elsewhere, monkeypatch
):
    run = create_run("mine", GIVEN)
    work_elsewhere(run, "pipeline")
    monkeypatch.setenv("CIFAR_PIPELINE", str(run.dir))
    run.start_stage(FIRST)
    monkeypatch.setenv("CIFAR_PIPELINE", str(run.dir.parent / "another"))
    with pytest.raises(RunError, match="in use"):
        run.start_stage(FIRST)


def test_this_process_may_go_on_with_its_own_run_and_leave_it():
    run = open_run(FIRST, "mine", **GIVEN)
    assert open_run(FIRST, "mine", **GIVEN).dir == run.dir  # a cell run again
    open_run(FIRST, "another", **GIVEN)
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(run.dir), "stage"], input="\n", text=True, timeout=60
    )
    assert done.returncode == 0


# What it holds


def test_a_run_is_done_when_all_its_stages_are():
    for stage in STAGES[:-1]:
        run = open_run(stage, "mine", **GIVEN)
        run.finish_stage()
    assert run.info["status"] == "open"
    run.start_stage(LAST)
    assert "results in" in run.finish_stage()
    assert run.info["status"] == "done"
    assert list(run.info["seconds"]) == list(STAGES)


def test_updates_are_merged_one_level_deep_and_keep_no_path_of_this_machine():
    run = create_run("mine", GIVEN | {"image_path": "/home/ada/cat.jpg"})
    run.update(versions={"keras": "3"}, seconds={"training": 1.5})
    run.update(seconds={"other": 2}, parameters={"epochs": 2, "model_path": "/home/ada/x.h5"})
    assert run.info["versions"].keys() >= {"keras", "python"}
    assert run.info["seconds"] == {"training": 1.5, "other": 2}
    assert run.parameters == GIVEN | {"epochs": 2}


def test_a_damaged_json_is_named():
    run = create_run("mine", GIVEN)
    run.path("metrics.json").write_text('{"accuracy": ')
    with pytest.raises(RunError, match=r"metrics\.json is not valid JSON.*delete"):
        run.read_json("metrics.json")
    assert run.read_json("nothing.json") == {}


def test_arrays_and_history_are_read_back(tmp_path):
    run = Run(tmp_path)
    assert read_history(run) == {}
    history = {"epoch": [1, 2], "loss": [1 / 3, 2e-17]}
    write_history(run, history)
    assert read_history(run) == history
    with np.load(run.write_arrays("predictions.npz", probs=np.eye(2))) as saved:
        assert saved["probs"].tolist() == [[1, 0], [0, 1]]


def test_preprocessing_is_what_notebook_2_decided_and_else_the_recipes_own():
    run = create_run("mine", GIVEN | {"epochs": 10})
    assert read_preprocessing(run) == Preprocessing.from_recipe(run.recipe, 0)
    decided = Preprocessing(7, 0.2, Augmentation(3.0), (24,))
    run.write_json("preprocessing.json", {"preprocessing": decided.to_json()})
    read = read_preprocessing(run)
    assert (read.seed, read.val_fraction, read.augmentation) == (7, 0.2, Augmentation(3.0))
    assert read.sizes == (24,) * 7 + (32,) * 3  # of the epochs that notebook 3 was given


def test_a_run_refuses_data_that_has_changed_since():
    run = create_run("mine", GIVEN)
    run.update(dataset={"fingerprint": "sha256:other"})
    with pytest.raises(RunError, match="opened with sha256:other"):
        _ = Run(run.dir).dataset


def test_a_trained_run_keeps_the_recipe_that_it_was_trained_with():
    run = create_run("mine", GIVEN)
    trained = vars(RECIPES["baseline"]) | {"name": "quick", "epochs": 10}
    for name in ("network", "optimizer", "sizes", "tta"):  # 0.2.0 did not know them
        del trained[name]
    run.update(recipe=json.loads(json.dumps(trained)))
    assert (run.recipe.network, run.recipe.epochs, run.recipe.tta) == ("documented", 10, False)
    assert run.recipe.sizes == ((32, 1.0),)
    run.update(parameters={"epochs": 4})
    assert run.recipe.epochs == 4


ALT = "Loss falls from 2.3 to 0.9 → flat · 95 %"


@pytest.mark.parametrize(
    ("name", "title"), [("cifar10", "Loss"), ("synthetic", "SYNTHETIC DATA · Loss")]
)
def test_a_figure_is_saved_and_shown_with_its_text_and_says_once_what_it_is_of(name, title):
    run = create_run("mine", GIVEN)
    run.update(dataset={"name": name})
    figure = Figure(figsize=(4, 2))
    figure.suptitle("Loss")
    for _ in range(2):  # a cell run again
        shown = run.show_figure(figure, "loss", ALT)
        assert figure.get_suptitle() == title
    saved = run.path("figures/loss.png").read_bytes()
    assert shown.data == saved
    assert Image.open(io.BytesIO(saved)).text["Description"] == ALT
    _, metadata = DisplayFormatter().format(shown)
    assert metadata["image/png"]["alt"] == ALT
