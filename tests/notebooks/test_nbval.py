"""nbval: the committed notebooks run, and show what they showed."""

import os
import subprocess
import sys

import nbformat
import pytest

from cifar_utils.apps.notebooks import list_notebooks, list_solutions
from cifar_utils.paths import notebooks_dir, project_root
from cifar_utils.runs.run import STAGES, Run

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
def test_committed_notebooks_run_with_their_solutions_and_tagged_cells_agree(tmp_path):
    """One kernel for each notebook: its cells, then the solutions of its exercises."""
    copies = []
    for path in list_notebooks():
        notebook = nbformat.read(path, as_version=4)
        notebook.cells += [nbformat.v4.new_code_cell(code) for code in list_solutions(notebook)]
        copies.append(tmp_path / path.name)
        nbformat.write(notebook, copies[-1])
    done = run_nbval(copies, tmp_path / "runs", "--nbval-lax")
    assert done.returncode == 0, done.stdout[-5000:]
    # One run went through 1 to 4, and nothing was opened twice; 5 takes the shipped weights.
    (run,) = (Run(path) for path in (tmp_path / "runs").iterdir())
    assert [stage for stage in STAGES if run.is_done(stage)] == list(STAGES[:4])


def test_nbval_rejects_an_output_that_changed(tmp_path):
    """The checker can fail: a tagged fact of notebook 1, falsified."""
    path = tmp_path / "01_data_exploration.ipynb"
    notebook = nbformat.read(notebooks_dir() / path.name, as_version=4)
    facts = [i for i, cell in enumerate(notebook.cells) if "3 cat" in str(cell.get("outputs"))]
    notebook.cells = notebook.cells[: facts[0] + 1]
    text = nbformat.writes(notebook)
    assert text.count("3 cat") == 1
    path.write_text(text.replace("3 cat", "3 cow"), encoding="utf-8")
    done = run_nbval([path], tmp_path / "runs", "--nbval-lax")
    assert done.returncode == 1
    assert "3 cow" in done.stdout
