"""Every committed notebook obeys the rules, and the checker rejects whatever breaks one."""

import base64
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_rules import check_notebook

from cifar_utils.apps.notebooks import SETUP_METADATA, read_address, render_setup
from cifar_utils.paths import project_root
from cifar_utils.runs import parameters as known
from cifar_utils.runs.recipes import RECIPES
from cifar_utils.runs.run import NOTEBOOKS as NAMES

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
NAME = "02_preprocessing"
EPOCHS = ", ".join(f"{recipe.name} {recipe.epochs}" for recipe in RECIPES.values())


def test_the_committed_notebooks_are_those_that_are_listed_and_break_no_rule():
    assert [path.stem for path in NOTEBOOKS] == list(NAMES)
    assert {path.stem: problems for path in NOTEBOOKS if (problems := check_notebook(path))} == {}


# Cells of the smallest notebook that obeys every rule, by place.
TITLE, SETUP, PARAMETERS, IMPORTS, CHECKED = range(5)
FIGURE, EXERCISES, LAST = 6, 7, -1
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
SOLVED = "<details><summary>Solution</summary>\n\n```python\nprint(1)\n```\n</details>\n\n"


def show(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def make_notebook():
    """Build the smallest notebook that obeys every rule."""
    parameters = "\n".join(
        f"{name}: {kind} = {default}  # {known.PARAMETERS[name].help}{more}"
        for name, kind, default, more in (
            ("run_name", "str", '""', ""),
            ("dataset", "str", '"auto"', ""),
            ("recipe", "str", '"quick"', ""),
            ("seed", "int", "0", ""),
            ("epochs", "int", "None", f" ({EPOCHS})"),
        )
    )
    picture = {"image/png": base64.b64encode(b"picture").decode(), "text/plain": "<Image>"}
    checked = new_output("execute_result", data={"text/plain": "(5000, 32, 32, 3)"})
    link = '<a href="https://example.org/a/b">here</a>, outputs/runs/a, 7 images/s'
    cells = [
        new_markdown_cell(
            "# 2 · Preprocessing\n[previous](01_data_exploration.ipynb) · [next](03_training.ipynb)"
        ),
        new_code_cell(render_setup(read_address()), metadata=SETUP_METADATA),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell("def double(x):\n    return 2 * x", outputs=[show({"text/html": link})]),
        *(
            new_code_cell("shape", metadata={"tags": ["nbval-check-output"]}, outputs=[checked])
            for _ in range(2)
        ),
        new_code_cell("show()", outputs=[show(picture, **{"image/png": {"alt": "A bird"}})]),
        new_markdown_cell("## Exercises\n" + 3 * SOLVED),
        new_code_cell("summary", outputs=[show({"text/markdown": "## Summary\n| a |"})]),
    ]
    code = [cell for cell in cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def test_a_good_notebook_breaks_no_rule():
    nbformat.validate(make_notebook())
    assert check_notebook(make_notebook(), NAME) == []


def edit(place, old, new):
    """Return a change of one cell's source."""

    def change(notebook):
        source = notebook.cells[place].source
        assert old in source
        notebook.cells[place].source = source.replace(old, new)

    return change


def output(place, added):
    return lambda notebook: notebook.cells[place].outputs.append(added)


def parameter(line):
    """Return a change that adds a line to the parameter cell."""
    return edit(PARAMETERS, "seed:", f"{line}\nseed:")


def stream(text, name="stdout"):
    return output(IMPORTS, new_output("stream", name=name, text=text))


def add_metadata(key, place=None):
    def change(notebook):
        (notebook if place is None else notebook.cells[place]).metadata[key] = {}

    return change


def insert(place, cell):
    return lambda notebook: notebook.cells.insert(place, cell)


PARAMETER_CELL = new_code_cell("x: int = 1  # y", metadata={"tags": ["parameters"]})
BROKEN = {
    "size": (output(CHECKED, show({"text/html": "x" * 1_000_000})), "bytes; at most"),
    "kernel": (lambda nb: nb.metadata.kernelspec.update(name="my-venv"), "not python3"),
    "widget state": (add_metadata("widgets"), "holds 'widgets'"),
    "timing": (add_metadata("execution", IMPORTS), "Cell 3: its metadata holds 'execution'"),
    "set-up": (edit(SETUP, "import cifar_utils", "import sys"), "make links"),
    "open set-up": (lambda nb: nb.cells[SETUP].metadata.clear(), "not folded away"),
    "next": (edit(TITLE, "(03_training", "(03-training"), "next notebook, 03_training"),
    "two parameter cells": (insert(3, PARAMETER_CELL), "2 code cells are tagged 'parameters'"),
    "no help": (edit(PARAMETERS, "  # auto, cifar10 or synthetic", ""), "is not `name: type"),
    "derived": (parameter("import os"), "'import os' is not `name: type"),
    "second =": (parameter('image_path: str = "a=b"  # x'), "papermill reads None"),
    "unknown": (parameter("epoch: int = 5  # passes"), "no parameter 'epoch'"),
    "wrong type": (edit(PARAMETERS, "seed: int", "seed: float"), "its type is int, not float"),
    "out of range": (edit(PARAMETERS, "int = 0", "int = -1"), "not a valid literal"),
    "other seed": (edit(PARAMETERS, "int = 0", "int = 1"), "seed: its default is 0, not 1"),
    "other recipe": (edit(PARAMETERS, '"quick"', '"baseline"'), "its default is 'quick'"),
    "overrides": (edit(PARAMETERS, "int = None", "int = 8"), "overrides a recipe"),
    "stale help": (edit(PARAMETERS, "(quick ", "(quick 1"), "epochs: its help is"),
    "pip": (edit(IMPORTS, "def", "!pip install x\ndef"), "pip outside"),
    "not executed": (lambda nb: nb.cells[LAST].update(execution_count=None), "in order"),
    "one checked": (lambda nb: nb.cells[CHECKED].metadata.clear(), "1 cells are tagged nbval"),
    "nothing checked": (lambda nb: nb.cells[CHECKED].outputs.clear(), "without an output"),
    "error": (
        output(IMPORTS, new_output("error", ename="KeyError", evalue="", traceback=[])),
        "ended in KeyError",
    ),
    "stderr": (stream("a warning", "stderr"), "stderr: 'a warning'"),
    "widget": (
        output(LAST, show({"application/vnd.jupyter.widget-view+json": {"model_id": "a"}})),
        "holds a widget",
    ),
    "home": (stream("read /home/ada/data/cifar"), "path: /home/ada"),
    "windows": (stream("C:\\Users\\ada"), "path: C:"),
    "no alt": (lambda nb: nb.cells[FIGURE].outputs[0].metadata.clear(), "text alternative"),
    "machinery": (edit(IMPORTS, "def", "from glob import glob\ndef"), "glob belongs into"),
    "path in code": (edit(IMPORTS, "2 * x", "'/home/ada/x'"), "/home/ada belongs into"),
    "open solutions": (edit(EXERCISES, "<details>", "<p>"), "0 folded solutions"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_checker_rejects_what_breaks_a_rule(what):
    change, told = BROKEN[what]
    notebook = make_notebook()
    change(notebook)
    problems = check_notebook(notebook, NAME)
    assert any(told in problem for problem in problems), problems


def test_what_only_looks_like_a_path_is_no_problem():
    notebook = make_notebook()
    stream("7 images/s loss / accuracy </b> https://a.b/c/d ../a/b/c ~/data/x 1/2/3")(notebook)
    assert check_notebook(notebook, NAME) == []
    assert len(check_notebook(new_notebook(), NAME)) > 5


def test_the_app_holds_one_cell_and_nothing_that_anybody_has_shown_it():
    app = json.loads(
        (project_root() / "cifar_utils" / "apps" / "app.ipynb").read_text(encoding="utf-8")
    )
    assert "widgets" not in app["metadata"]
    (code,) = (cell for cell in app["cells"] if cell["cell_type"] == "code")
    assert code["outputs"] == []
    assert code["execution_count"] is None
