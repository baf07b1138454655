"""The whole pipeline as a user meets it: run, stop in every way, resume, rerun, misuse."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from pipeline_process import (
    EPOCHS,
    SMALL,
    assert_same_end,
    count_epochs,
    find_kernel,
    is_gone,
    read_outputs,
    run_command,
    start_command,
    wait_for_next_epoch,
)

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
    def test_ends_by_naming_data_set_accuracy_and_report(self, whole):
        done, run = whole
        accuracy = json.loads(run.path("metrics.json").read_text())["accuracy"]
        last = done.stdout.strip().splitlines()[-3:]
        assert "SYNTHETIC DATA" in last[0]
        assert f"{accuracy['value']:.2%}" in last[1]
        assert f"{accuracy['low']:.2%} to {accuracy['high']:.2%}" in last[1]
        assert last[2].endswith("report.html")

    def test_prints_one_line_per_epoch_without_a_terminal(self, whole):
        lines = [line for line in whole[0].stdout.splitlines() if "epoch " in line]
        assert len(lines) == EPOCHS
        assert all("loss" in line and "validation" in line and "left" in line for line in lines)

    def test_says_nothing_on_stderr(self, whole):
        assert whole[0].stderr == ""

    def test_leaves_every_file(self, whole):
        assert [name for name in RUN_FILES if not whole[1].path(name).exists()] == []
        assert list(whole[1].dir.rglob(".*.ipynb")) == []

    def test_records_parameters_versions_and_times(self, whole):
        info = whole[1].info
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
            assert '"stderr"' not in read_outputs(whole[1].path(f"notebooks/{stage}.ipynb"))

    def test_synthetic_data_is_named_in_the_report(self, whole):
        assert "SYNTHETIC" in whole[1].path("report.html").read_text()

    def test_an_existing_name_is_refused_with_the_next_step(self, whole, folder):
        again = run_command("run", "--name", "whole", *SMALL, runs_folder=folder)
        assert again.returncode == 1
        assert "exists already" in again.stderr
        assert "--name whole --resume" in again.stderr

    def test_other_parameters_do_not_resume_it(self, whole, folder):
        command = ("run", "--name", "whole", "--resume", "-p", "epochs", "7")
        other = run_command(*command, runs_folder=folder)
        assert other.returncode == 1
        assert f"epochs {EPOCHS}, not 7" in other.stderr

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


def run_papermill(name, folder, *options):
    """Let plain papermill execute a notebook; returns the `CompletedProcess`."""
    command = ["papermill", notebooks_dir() / f"{name}.ipynb", folder / "out.ipynb", *options]
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CIFAR_RUNS_DIR": str(folder / "runs")},
    )


@pytest.mark.slow
def test_plain_papermill_with_a_mistyped_parameter_is_refused_by_the_notebook(tmp_path):
    done = run_papermill("03_training", tmp_path, "-p", "epocs", "1")
    assert done.returncode == 1
    assert "Did you mean 'epochs'?" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_plain_papermill_runs_one_notebook_with_what_was_checked(tmp_path):
    done = run_papermill("02_preprocessing", tmp_path, "-r", "seed", "7", "-p", "recipe", "fast")
    assert done.returncode == 0, done.stderr
    (run,) = (Run(path) for path in (tmp_path / "runs").iterdir())
    assert run.name.endswith("-fast")
    assert run.parameters["seed"] == 7
    assert run.is_done("02_preprocessing")


WRONG = [
    (["-p", "epocs", "5"], "Did you mean 'epochs'?"),
    (["-p", "epochs", "five"], "epochs must be an integer from 1 to 10000, not 'five'"),
    (["-p", "epochs", "0"], "epochs must be an integer from 1 to 10000, not 0"),
    (["-p", "learning_rate", "nan"], "learning_rate must be a number"),
    (["-p", "val_fraction", "0.9"], "val_fraction must be a number from 0 to 0.5"),
    (["-p", "flip", "maybe"], "flip must be true or false"),
    (["--recipe", "basline"], "Did you mean 'baseline'?"),
    (["--dataset", "cifar100"], "Did you mean 'cifar10'?"),
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


@pytest.mark.parametrize(
    ("option", "file", "reason"),
    [
        ("image_path", "README.md", "README.md"),
        ("model_path", "README.md", "README.md"),
        ("image_path", "~$letter.jpg", "There is no file"),
    ],
)
def test_what_only_the_last_notebook_reads_is_refused_before_any_work(
    option, file, reason, runs_folder
):
    result = CliRunner().invoke(main, ["run", "-p", option, file])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert reason in result.stderr
    assert not runs_folder.exists()


def test_resuming_with_too_few_images_held_out_leaves_the_run_as_it_was(runs_folder):
    run = create_run("mine", {"dataset": "synthetic", "recipe": "quick", "seed": 0})
    before = run.info
    words = ["run", "--name", "mine", "--resume", "-p", "val_fraction", "0.00005"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "without a validation image" in result.stderr
    assert run.info == before


def test_a_runs_folder_that_is_a_file_is_told_without_a_traceback(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "file"))
    result = CliRunner().invoke(main, ["run", "--dataset", "synthetic"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "CIFAR_RUNS_DIR moves the runs" in result.stderr


def test_resuming_a_run_that_is_not_there_names_the_nearest(runs_folder):
    (runs_folder / "my-run").mkdir(parents=True)
    (runs_folder / "my-run" / "run.json").write_text("{}")
    result = CliRunner().invoke(main, ["run", "--name", "my-rn", "--resume"])
    assert result.exit_code == 1
    assert "Did you mean 'my-run'?" in result.stderr


def test_a_mistyped_command_names_the_nearest():
    result = CliRunner().invoke(main, ["docter"])
    assert result.exit_code == 2
    assert "Did you mean 'doctor'?" in result.stderr
