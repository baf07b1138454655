"""Runs `python -m cifar_utils` as a user does: in a process of its own, stopped in every way."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil

from cifar_utils.paths import project_root
from cifar_utils.runs.run import Run

COMMAND = [sys.executable, "-m", "cifar_utils"]
EPOCHS = 4
# A second or two per epoch: small, but large enough that an epoch has a middle.
SMALL = ["--dataset", "synthetic", "-p", "epochs", str(EPOCHS), "-p", "batch_size", "50"]
SMALL += ["-p", "demo", "false"]


def run_command(*arguments, runs_folder, timeout=600, **environment):
    """Run a command to its end and return the `CompletedProcess`, output as text."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=project_root(),
        env={**os.environ, "CIFAR_RUNS_DIR": str(runs_folder), **environment},
    )


def accept_ctrl_c():
    """Undo what a background job inherits: a shell lets its background jobs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start_command(*arguments, runs_folder):
    """Start a command in a session of its own; returns the `Popen`."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=project_root(),
        env={**os.environ, "CIFAR_RUNS_DIR": str(runs_folder)},
        start_new_session=True,
        preexec_fn=accept_ctrl_c,
    )


def count_epochs(run):
    """Return how many epochs the run's history holds."""
    path = run.path("history.csv")
    return max(0, len(path.read_text().splitlines()) - 1) if path.exists() else 0


def find_kernel(process):
    """Return the psutil process of the kernel that a pipeline has started."""
    children = psutil.Process(process.pid).children()
    (kernel,) = (child for child in children if any("ipykernel" in c for c in child.cmdline()))
    return kernel


def wait_for_next_epoch(process, runs_folder, name, timeout=240):
    """Wait until a running pipeline is in the middle of an epoch after a newly finished one.

    Returns:
        The `Run`.
    """
    run = Run(runs_folder / name)
    before, deadline = count_epochs(run), time.monotonic() + timeout
    while count_epochs(run) == before:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"no epoch was finished:\n{process.communicate()[0]}")
        time.sleep(0.05)
    time.sleep(0.2)
    return run


def assert_same_end(run, reference):
    """Compare two finished runs: history and metrics byte for byte, arrays bit for bit."""
    for name in ("history.csv", "metrics.json"):
        assert run.path(name).read_bytes() == reference.path(name).read_bytes(), name
    for name in ("checkpoint.npz", "predictions.npz"):
        with np.load(run.path(name)) as ours, np.load(reference.path(name)) as theirs:
            assert set(ours.files) == set(theirs.files)
            for array in set(ours.files) - {"meta"}:  # it holds the seconds spent
                np.testing.assert_array_equal(ours[array], theirs[array])


def is_gone(process):
    """Return whether a psutil process has ended, reaped by its parent or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
