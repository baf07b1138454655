"""nbval: the committed notebooks run, and an executed run gives the same outputs once more."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from cifar_utils.paths import notebooks_dir, project_root
from cifar_utils.runs.run import STAGES

SANITIZER = project_root() / "tests" / "notebooks" / "nbval_sanitize.cfg"


def run_nbval(notebooks, runs_folder, *options):
    """Let nbval execute notebooks and compare; returns the `CompletedProcess`."""
    command = ["pytest", "-q", "-p", "no:cacheprovider", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", SANITIZER, "--nbval-cell-timeout", "300", "-c", os.devnull]
    return subprocess.run(
        [sys.executable, "-m", *map(str, command), *options, *map(str, notebooks)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=notebooks[0].parent,
        env={**os.environ, "CIFAR_RUNS_DIR": str(runs_folder)},
    )


@pytest.mark.slow
def test_committed_notebooks_run_and_their_tagged_cells_agree(tmp_path):
    notebooks = sorted(notebooks_dir().glob("*.ipynb"))
    done = run_nbval(notebooks, tmp_path / "runs", "--nbval-lax")
    assert done.returncode == 0, done.stdout[-5000:]
    # One run went through all five: nothing was opened twice.
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_a_run_executed_again_elsewhere_shows_the_same_outputs(whole, tmp_path):
    executed = [whole[1].path(f"notebooks/{stage}.ipynb") for stage in STAGES]
    done = run_nbval(executed, tmp_path / "again", "--nbval")
    assert done.returncode == 0, done.stdout[-5000:]


def test_nbval_rejects_an_output_that_changed(tmp_path):
    """The checker can fail: a tagged fact of notebook 1, falsified."""
    path = tmp_path / "01_data_exploration.ipynb"
    shutil.copy(notebooks_dir() / path.name, path)
    assert path.read_text().count("3 cat") == 1
    path.write_text(path.read_text().replace("3 cat", "3 cow"))
    done = run_nbval([path], tmp_path / "runs", "--nbval-lax")
    assert done.returncode == 1
    assert "3 cow" in done.stdout
