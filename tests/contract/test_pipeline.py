"""The whole pipeline as a user meets it: run, stop in every way, resume, rerun, misuse."""

import errno
import json
import os
import re
import signal
import subprocess
import sys

import nbformat
import papermill
import pytest
from click.testing import CliRunner
from papermill.exceptions import PapermillExecutionError
from pipeline_process import (
    EPOCHS,
    SMALL,
    assert_same_end,
    count_epochs,
    find_kernel,
    is_gone,
    run_command,
    start_command,
    wait_for_next_epoch,
)

from cifar_utils.apps import pipeline
from cifar_utils.apps.cli import main
from cifar_utils.paths import notebooks_dir
from cifar_utils.runs.run import STAGES, Run
from cifar_utils.runs.store import create_run

RUN_FILES = (
    *("run.json", "preprocessing.json", "history.csv", "model.keras", "model1.h5"),
    *("predictions.npz", "metrics.json", "report.html"),
    *(f"notebooks/{stage}.ipynb" for stage in STAGES),
)


@pytest.fixture(scope="module")
def folder(whole):
    """The runs folder in which the whole run lies."""
    return whole[1].dir.parent


@pytest.mark.slow
class TestWholeRun:
    def test_prints_its_epochs_and_ends_by_naming_data_set_accuracy_and_report(self, whole):
        done, run = whole
        accuracy = json.loads(run.path("metrics.json").read_text())["accuracy"]
        lines = done.stdout.strip().splitlines()
        assert "SYNTHETIC DATA" in lines[-3]
        assert f"{accuracy['value']:.2%}" in lines[-2]
        assert f"{accuracy['low']:.2%} to {accuracy['high']:.2%}" in lines[-2]
        assert lines[-1].endswith("report.html")
        epochs = [line for line in lines if "epoch " in line]
        assert len(epochs) == EPOCHS
        assert all("loss" in line and "validation" in line and "left" in line for line in epochs)
        assert done.stderr == ""

    def test_leaves_every_file_and_records_parameters_versions_and_times(self, whole):
        run, info = whole[1], whole[1].info
        assert [name for name in RUN_FILES if not run.path(name).exists()] == []
        assert list(run.dir.rglob(".*.ipynb")) == []
        assert "SYNTHETIC" in run.path("report.html").read_text()
        assert info["status"] == "done"
        assert info["parameters"]["epochs"] == EPOCHS
        assert info["parameters"]["batch_size"] == 50
        assert info["versions"]["tensorflow"]
        assert info["dataset"]["name"] == "synthetic"
        assert 0 < info["seconds"]["training"] <= info["seconds"]["03_training"]
        assert set(info["seconds"]) == {"training", *STAGES}

    def test_executed_notebooks_hold_no_widget_state_and_no_stderr(self, whole):
        for stage in STAGES:
            text = whole[1].path(f"notebooks/{stage}.ipynb").read_text()
            assert "application/vnd.jupyter.widget" not in text
            assert '"name": "stderr"' not in text

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (SMALL, "--name whole --resume"),  # an existing name, and the next step
            (["--resume", "-p", "epochs", "7"], f"epochs {EPOCHS}, not 7"),
        ],
    )
    def test_it_is_neither_overwritten_nor_resumed_with_other_parameters(
        self, whole, folder, monkeypatch, options, reason
    ):
        monkeypatch.setenv("CIFAR_RUNS_DIR", str(folder))
        again = CliRunner().invoke(main, ["run", "--name", "whole", *options])
        assert again.exit_code == 1
        assert reason in again.stderr

    def test_only_reruns_one_stage_to_the_same_result(self, whole, folder):
        metrics, history = (whole[1].path(n).read_bytes() for n in ("metrics.json", "history.csv"))
        whole[1].path("metrics.json").unlink()
        again = run_command("run", "--name", "whole", "--only", "04", runs_folder=folder)
        assert again.returncode == 0, again.stderr
        assert "03_training" not in again.stdout
        assert whole[1].path("metrics.json").read_bytes() == metrics
        assert whole[1].path("history.csv").read_bytes() == history


@pytest.mark.slow
def test_stopped_killed_and_resumed_it_ends_like_one_never_stopped(whole, folder):
    """Ctrl-C, a kernel killed, the pipeline killed: each in the middle of an epoch."""
    resume = ("run", "--name", "stopped", "--resume")
    process = start_command("run", "--name", "stopped", *SMALL, runs_folder=folder)
    run = wait_for_next_epoch(process, folder, "stopped")
    kernel = find_kernel(process)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert "python -m cifar_utils run --name stopped --resume" in printed
    assert "Traceback" not in printed
    assert run.info["status"] == "interrupted"
    assert is_gone(kernel)

    process = start_command(*resume, runs_folder=folder)
    wait_for_next_epoch(process, folder, "stopped")
    find_kernel(process).kill()
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "kernel of 03_training died" in printed
    assert "memory" in printed
    assert "Last sign of life: epoch" in printed
    assert run.info["status"] == "failed"

    process = start_command(*resume, runs_folder=folder)
    wait_for_next_epoch(process, folder, "stopped")
    kernel = find_kernel(process)
    os.killpg(process.pid, signal.SIGKILL)  # the kernel has a session of its own and must notice
    process.wait(timeout=30)
    finished = count_epochs(run)
    assert 3 <= finished < EPOCHS, "the test came too late to stop anything"

    done = run_command(*resume, runs_folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert is_gone(kernel)
    assert "01_data_exploration" not in done.stdout
    assert_same_end(run, whole[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong", "reason"),
    [
        ("03_training", "epocs", "Did you mean 'epochs'?"),
        ("04_evaluation", "dataset", "takes no parameter 'dataset'"),
    ],
)
def test_a_notebook_refuses_a_name_that_is_not_its_own(name, wrong, reason, runs_folder):
    """As plain papermill injects it, with the cells up to the one that checks."""
    notebook = nbformat.read(notebooks_dir() / f"{name}.ipynb", as_version=4)
    last = next(i for i, cell in enumerate(notebook.cells) if "run = open_" in cell.source)
    notebook.cells = notebook.cells[: last + 1]
    source = runs_folder.parent / "source.ipynb"
    nbformat.write(notebook, source)
    with pytest.raises(PapermillExecutionError, match=re.escape(reason)):
        papermill.execute_notebook(str(source), None, parameters={wrong: "1"}, progress_bar=False)
    assert not runs_folder.exists()


@pytest.mark.slow
def test_plain_papermill_runs_one_notebook_with_what_was_checked(runs_folder, tmp_path):
    command = ["papermill", notebooks_dir() / "02_preprocessing.ipynb", tmp_path / "out.ipynb"]
    command += ["-r", "seed", "7", "-p", "recipe", "fast"]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (run,) = (Run(path) for path in runs_folder.iterdir())
    assert run.name.endswith("-fast")
    assert run.parameters["seed"] == 7
    assert run.is_done("02_preprocessing")


WRONG = [
    (["-p", "epocs", "5"], "Did you mean 'epochs'?"),
    (["-p", "epochs", "five"], "epochs must be an integer from 1 to 10000, not 'five'"),
    (["--recipe", "basline"], "Did you mean 'baseline'?"),
    (["--name", "../x"], "names a folder"),
    (["-p", "val_fraction", "0.00005"], "without a validation image"),
    (["-p", "image_path", "no/such.jpg"], "There is no file"),
    (["--only", "09"], "There is no single stage '09'"),
    (["--resume", "--only", "04"], "exclude each other"),
]


@pytest.mark.parametrize(("options", "reason"), WRONG, ids=[" ".join(o) for o, _ in WRONG])
def test_a_wrong_option_is_refused_before_any_work(options, reason, runs_folder):
    result = CliRunner().invoke(main, ["run", *options])
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not runs_folder.exists()


@pytest.mark.parametrize("option", ["image_path", "model_path"])
def test_what_only_the_last_notebook_reads_is_refused_before_any_work(option, runs_folder):
    result = CliRunner().invoke(main, ["run", "-p", option, "README.md"])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert "README.md" in result.stderr
    assert not runs_folder.exists()


def test_resuming_with_too_few_images_held_out_leaves_the_run_as_it_was(runs_folder):
    run = create_run("mine", {"dataset": "synthetic", "recipe": "quick", "seed": 0})
    before = run.info
    words = ["run", "--name", "mine", "--resume", "-p", "val_fraction", "0.00005"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "without a validation image" in result.stderr
    assert run.info == before


def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "create_run", refuse)
    full = CliRunner().invoke(main, ["run", "--dataset", "synthetic"])
    assert full.exit_code == 1
    assert "No space left" in full.stderr
    assert "CIFAR_RUNS_DIR moves the runs" in full.stderr
    (tmp_path / "file").touch()
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "file"))
    file = CliRunner().invoke(main, ["run", "--dataset", "synthetic"])
    assert isinstance(file.exception, SystemExit)
    assert "CIFAR_RUNS_DIR" in file.stderr


def test_resuming_a_run_that_is_not_there_names_the_nearest(runs_folder):
    (runs_folder / "my-run").mkdir(parents=True)
    (runs_folder / "my-run" / "run.json").write_text("{}")
    result = CliRunner().invoke(main, ["run", "--name", "my-rn", "--resume"])
    assert result.exit_code == 1
    assert "Did you mean 'my-run'?" in result.stderr
