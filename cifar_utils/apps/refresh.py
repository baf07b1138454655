"""Executes the committed notebooks again, in place: `make notebooks`."""

import datetime
import sys
import tempfile
from pathlib import Path

import nbformat

from cifar_utils.apps.kernels import (
    CellFailed,
    KernelDied,
    NotebookRun,
    catch_signals,
    watch_notebook,
)
from cifar_utils.errors import CifarError
from cifar_utils.paths import notebooks_dir, write_text
from cifar_utils.runs.run import NOTEBOOKS, STAGES
from cifar_utils.runs.store import create_run


def refresh_notebooks(stream=None):
    """Execute all notebooks on CIFAR-10 in a new run, then replace the committed ones.

    All are executed before the first is replaced, so that a failure leaves them as they were.

    Args:
        stream: Where progress is shown; None is stdout.

    Returns:
        The paths that were written.

    Raises:
        DataError: If CIFAR-10 cannot be had: what is committed should show it.
        CifarError: If a notebook failed.
    """
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-quick"
    create_run(name, {"recipe": "quick", "dataset": "cifar10", "seed": 0})
    with tempfile.TemporaryDirectory() as folder, catch_signals() as signals:
        done = []
        for stage in NOTEBOOKS:
            print(f"{stage} …", file=stream or sys.stdout, flush=True)
            target = Path(folder) / f"{stage}.ipynb"
            source = notebooks_dir() / target.name
            parameters = {"run_name": name} if stage in STAGES else {"dataset": "cifar10"}
            notebook = NotebookRun(source, target, parameters).start()
            try:
                watch_notebook(notebook, signals)
            except (CellFailed, KernelDied) as error:
                raise CifarError(f"{stage} failed; no notebook was changed. {error}") from error
            done.append(target)
        for target in done:
            executed = nbformat.read(target, as_version=4)
            text = nbformat.writes(remove_injected_cell(executed)) + "\n"
            write_text(notebooks_dir() / target.name, text)
    return [notebooks_dir() / target.name for target in done]


def remove_injected_cell(notebook):
    """Remove the cell that papermill injected, and count the executed cells without it.

    Args:
        notebook: An executed nbformat 4 notebook; changed in place.

    Returns:
        The same notebook.
    """
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook
