"""The whole pipeline as a user meets it: run, stop in every way, resume, rerun, misuse."""

import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from pipeline_process import (
    COMMAND,
    SMALL,
    accept_ctrl_c,
    count_epochs,
    is_gone,
    read_outputs,
    run_command,
    start_command,
    wait_for_next_epoch,
)

from cifar_utils.apps import pipeline
from cifar_utils.apps.cli import main
from cifar_utils.errors import CifarError
from cifar_utils.inference import load_run_model
from cifar_utils.paths import notebooks_dir, project_root
from cifar_utils.runs.run import STAGES, Run
from cifar_utils.runs.store import create_run

RUN_FILES = (
    *("run.json", "preprocessing.json", "history.csv", "model.keras", "model1.h5"),
    *("predictions.npz", "metrics.json", "events.jsonl", "report.html"),
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
        assert len(lines) == 9
        assert all("loss" in line and "validation" in line and "left" in line for line in lines)

    def test_says_nothing_on_stderr(self, whole):
        assert whole[0].stderr == ""

    def test_leaves_every_file(self, whole):
        assert [name for name in RUN_FILES if not whole[1].path(name).exists()] == []
        assert list(whole[1].dir.rglob(".*.ipynb")) == []

    def test_records_parameters_versions_and_times(self, whole):
        info = whole[1].info
        assert info["status"] == "done"
        assert info["parameters"]["epochs"] == 9
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
        assert "epochs 9, not 7" in other.stderr

    def test_only_reruns_one_stage_to_the_same_result(self, whole, folder):
        metrics, history = (whole[1].path(n).read_bytes() for n in ("metrics.json", "history.csv"))
        whole[1].path("metrics.json").unlink()
        again = run_command("run", "--name", "whole", "--only", "04", runs_folder=folder)
        assert again.returncode == 0, again.stderr
        assert "03_training" not in again.stdout
        assert whole[1].path("metrics.json").read_bytes() == metrics
        assert whole[1].path("history.csv").read_bytes() == history


@pytest.mark.slow
def test_stopped_in_every_way_and_resumed_it_ends_like_one_never_stopped(whole, folder):
    """Ctrl-C, SIGTERM, a kernel killed, all killed: each in the middle of an epoch."""
    start = ("run", "--name", "stopped", *SMALL)
    resume = ("run", "--name", "stopped", "--resume")

    for number, how in ((signal.SIGINT, start), (signal.SIGTERM, resume)):
        process = start_command(*how, runs_folder=folder)
        run = wait_for_next_epoch(process, folder, "stopped")
        kernel = psutil.Process(run.info["owner"]["pid"])
        process.send_signal(number)
        printed = process.communicate(timeout=120)[0]
        assert process.returncode == 130
        assert "python -m cifar_utils run --name stopped --resume" in printed
        assert run.info["status"] == "interrupted"
        assert is_gone(kernel)

    process = start_command(*resume, runs_folder=folder)
    run = wait_for_next_epoch(process, folder, "stopped")
    os.kill(run.info["owner"]["pid"], signal.SIGKILL)
    printed = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "kernel of 03_training died" in printed
    assert "memory" in printed
    assert "Last sign of life: epoch" in printed
    assert run.info["status"] == "failed"

    process = start_command(*resume, runs_folder=folder)
    run = wait_for_next_epoch(process, folder, "stopped")
    kernel = psutil.Process(run.info["owner"]["pid"])
    os.killpg(process.pid, signal.SIGKILL)  # the kernel has a session of its own and must notice
    process.wait(timeout=30)
    finished = count_epochs(run)
    assert 4 <= finished < 9, "the test came too late to stop anything"

    done = run_command(*resume, runs_folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert is_gone(kernel)
    assert "01_data_exploration" not in done.stdout
    assert_same_training(run, whole[1])


def assert_same_training(run, reference):
    """Compare history byte for byte and every weight bit for bit."""
    assert run.path("history.csv").read_bytes() == reference.path("history.csv").read_bytes()
    with (
        np.load(run.path("checkpoint.npz")) as ours,
        np.load(reference.path("checkpoint.npz")) as theirs,
    ):
        assert set(ours.files) == set(theirs.files)
        for name in set(ours.files) - {"meta"}:  # it holds the seconds spent
            np.testing.assert_array_equal(ours[name], theirs[name])
    models = [load_run_model(r).get_weights() for r in (run, reference)]
    for ours, theirs in zip(*models, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_terminal_sees_stage_epoch_and_time_left(whole, folder):
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))
    command = ("run", "--name", "seen", *SMALL)
    process = subprocess.Popen(
        [*COMMAND, *command],
        stdout=follower,
        stderr=follower,
        cwd=project_root(),
        env={**os.environ, "CIFAR_RUNS_DIR": str(folder)},
        preexec_fn=accept_ctrl_c,
    )
    os.close(follower)
    seen, deadline = "", time.monotonic() + 120
    while "epoch 2/9" not in seen and time.monotonic() < deadline:
        seen += os.read(leader, 65536).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        try:
            seen += os.read(leader, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            break
    process.wait(timeout=60)
    assert "[3/5] 03_training" in seen
    shown = seen[seen.rindex("epoch 2/9") :]
    assert "loss" in shown
    assert "val " in shown
    assert "left" in shown
    assert "--resume" in seen


@pytest.mark.slow
def test_plain_papermill_with_a_mistyped_parameter_is_refused_by_the_notebook(tmp_path):
    command = ["papermill", notebooks_dir() / "03_training.ipynb", tmp_path / "out.ipynb"]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command), "-p", "epocs", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CIFAR_RUNS_DIR": str(tmp_path / "runs")},
    )
    assert done.returncode == 1
    assert "Did you mean 'epochs'?" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_plain_papermill_runs_one_notebook(folder, tmp_path):
    command = ["papermill", notebooks_dir() / "03_training.ipynb", tmp_path / "out.ipynb"]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command), "-p", "recipe", "baseline", "-p", "epochs", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CIFAR_RUNS_DIR": str(tmp_path / "runs")},
    )
    assert done.returncode == 0, done.stderr
    (run,) = (Run(path) for path in (tmp_path / "runs").iterdir())
    assert run.name.endswith("-baseline")
    assert run.recipe.epochs == 1
    assert len(run.path("history.csv").read_text().splitlines()) == 2


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


def test_a_disk_that_fills_up_leaves_the_reason_and_the_next_step(runs_folder, monkeypatch):
    run = create_run("full", {"dataset": "synthetic", "recipe": "quick", "seed": 0})
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_, **__):
        raise full

    def fill(*_):
        monkeypatch.setattr(Run, "write_json", refuse)
        raise full

    monkeypatch.setattr(pipeline.NotebookRun, "start", fill)
    with pytest.raises(CifarError, match=r"No space left.*--name full --resume"):
        pipeline.run_pipeline(run, [STAGES[0]], stream=io.StringIO())


def test_what_a_killed_process_left_of_a_checkpoint_is_removed(runs_folder, monkeypatch):
    run = create_run("left", {"dataset": "synthetic", "recipe": "quick", "seed": 0})
    run.path(".checkpoint-abc.npz").write_bytes(b"half")
    run.path("checkpoint.npz").write_bytes(b"whole")
    pipeline.run_pipeline(run, [], stream=io.StringIO())
    assert not run.path(".checkpoint-abc.npz").exists()
    assert run.path("checkpoint.npz").exists()


def test_the_command_to_continue_names_the_backend(runs_folder):
    run = create_run("other", {"dataset": "synthetic", "recipe": "quick", "seed": 0})
    run.update(backend="jax")
    told = pipeline._say_what_happened(run, STAGES[2], Exception(), True)
    assert "KERAS_BACKEND=jax python -m cifar_utils run --name other --resume" in str(told)


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


def test_importing_the_package_imports_no_tensorflow():
    modules = "data,exploration,evaluation,plots,report,inference,opening,pipeline,recipes,__main__"
    code = (
        f"import sys; from cifar_utils import {modules};"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
