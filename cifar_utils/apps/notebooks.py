"""What is done to the committed notebooks: executed again, linked, and copied for exercises.

Set-up cell and badge depend on the project's address, which pyproject.toml alone holds.
"""

import datetime
import re
import tempfile
from pathlib import Path

import nbformat

from cifar_utils.apps.execution import CellFailed, KernelDied, execute_notebook, stop_on_signals
from cifar_utils.errors import CifarError
from cifar_utils.paths import notebooks_dir, project_root, read_project_table, write_text
from cifar_utils.runs.run import NOTEBOOKS, STAGES
from cifar_utils.runs.store import create_run

BADGE = re.compile(r"\n*^\[!\[Open in Colab\].*$", re.MULTILINE)
# Colab and Jupyter fold the cell away by these.
SETUP_METADATA = {"cellView": "form", "jupyter": {"source_hidden": True}}
# Only pip can run before the package is there. It installs the package alone; `set_up_colab` then
# adds what Colab lacks. Where there is still no package, Python shows the last line and its advice.
# (IPython takes `%pip` at the begin of a line only.)
SETUP_CELL = """\
#@title Set-up
try: import cifar_utils
except ImportError: get_ipython().run_line_magic("pip", "install -q --no-deps {source}")
from cifar_utils.apps.colab import set_up_colab; set_up_colab()  # missing? {advice}"""
UPLOADED_WHEEL = "/content/cifar_notebooks-*-any.whl"
WITHOUT_ADDRESS = "Start `make lab`; in Colab, first upload the wheel that `make wheel` builds."
WITH_ADDRESS = "Start `make lab`; in Colab, read above what pip says."
SOLUTION = re.compile(r"<details>.*?</details>\n*", re.DOTALL)
CODE_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
KEY_TAG = "key"  # of cells that a student writes anew in the copy for exercises


def list_notebooks():
    """Return the paths of the committed notebooks, in order."""
    return [notebooks_dir() / f"{name}.ipynb" for name in NOTEBOOKS]


def _write(path, notebook):
    return write_text(path, nbformat.writes(notebook) + "\n")


def refresh_notebooks(show=print):
    """Execute all notebooks on CIFAR-10 in a new run, then replace the committed ones.

    All are executed before the first is replaced: a failure (CifarError) leaves them as they were.
    `show` is called with the name of each before it is executed.
    """
    name = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-quick"
    create_run(name, {"recipe": "quick", "dataset": "cifar10", "seed": 0})
    with tempfile.TemporaryDirectory() as folder, stop_on_signals():
        for path in list_notebooks():
            show(f"{path.stem} …")
            parameters = {"run_name": name}
            if path.stem == STAGES[-1]:  # 05 as a person opens it: the weights that ship
                parameters = {}
            elif path.stem not in STAGES:
                parameters = {"dataset": "cifar10"}
            try:
                execute_notebook(path, Path(folder) / path.name, parameters)
            except (CellFailed, KernelDied) as error:
                raise CifarError(f"{path.stem} failed; no notebook was changed. {error}") from error
        for path in list_notebooks():
            _write(path, remove_injected_cell(nbformat.read(Path(folder) / path.name, 4)))


def remove_injected_cell(notebook):
    """Remove the cell that papermill injected, and count the executed cells without it."""
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


def read_address():
    """Read the project's address from pyproject.toml; "" while `[project.urls]` is empty.

    Raises:
        CifarError: If it is anything but GitHub's: Colab opens notebooks by owner and name.
    """
    urls = read_project_table().get("urls", {})
    if not urls:
        return ""
    found = re.fullmatch(
        r"(https://github\.com/[\w-]+/[\w.-]+?)(\.git)?/?", urls.get("Repository", ""), re.ASCII
    )
    if not found:
        raise CifarError(
            f"[project.urls] in pyproject.toml holds {urls}; Colab needs one line, Repository ="
            ' "https://github.com/OWNER/NAME", or none. Correct it, then run `make links` again.'
        )
    return found[1]


def render_setup(address):
    """Return the source of the set-up cell, for an address or for none ("")."""
    return SETUP_CELL.format(
        source=f"git+{address}" if address else UPLOADED_WHEEL,
        advice=WITH_ADDRESS if address else WITHOUT_ADDRESS,
    )


def link_notebook(notebook, stage, address):
    """Write badge and set-up cell into a notebook, which must have one set-up cell to replace."""
    setup = [cell for cell in notebook.cells if "set_up_colab()" in cell.source]
    if len(setup) != 1:
        raise CifarError(
            f"{stage}.ipynb has {len(setup)} cells that call set_up_colab(), not one. Restore the"
            " notebook from git, then run `make links` again."
        )
    setup[0].source = render_setup(address)
    setup[0].metadata.update(SETUP_METADATA)
    first, colab = notebook.cells[0], "https://colab.research.google.com"
    first.source = BADGE.sub("", first.source).rstrip()
    if address:
        place = address.replace("https://github.com/", "github/")
        link = f"{colab}/{place}/blob/main/notebooks/{stage}.ipynb"
        first.source += f"\n\n[![Open in Colab]({colab}/assets/colab-badge.svg)]({link})"
    return notebook


def write_links(check=False):
    """Bring badge and set-up cell of every notebook up to date; return the paths that changed.

    With `check`, or where anything is not what it should be (CifarError), nothing is written.
    """
    address, changed = read_address(), {}
    for path in list_notebooks():
        text = path.read_text(encoding="utf-8")
        notebook = link_notebook(nbformat.reads(text, as_version=4), path.stem, address)
        if nbformat.writes(notebook) + "\n" != text:
            changed[path] = notebook
    if not check:
        for path, notebook in changed.items():
            _write(path, notebook)
    return list(changed)


def list_solutions(notebook):
    """Return the Python of the folded solutions to a notebook's exercises, in order.

    Each runs in the notebook's kernel after all of its cells and the solutions before it.
    """
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = "\n".join(block for source in cells for block in SOLUTION.findall(source))
    return CODE_BLOCK.findall(folded)


def strip_notebook(notebook):
    """Remove the folded solutions, all outputs, and the code of cells tagged `key`.

    Of such a cell the first comment remains. The notebook is changed in place and returned.
    """
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source).rstrip()
            continue
        cell.outputs, cell.execution_count = [], None
        if KEY_TAG in cell.metadata.get("tags", []):
            comments = [line for line in cell.source.splitlines() if line.startswith("#")]
            cell.source = (comments or ["# Your turn: write this cell."])[0]
    return notebook


def write_exercises():
    """Write a stripped copy of every notebook into `exercises/`, which is not committed."""
    folder = project_root() / "exercises"
    return [
        _write(folder / path.name, strip_notebook(nbformat.read(path, as_version=4)))
        for path in list_notebooks()
    ]
