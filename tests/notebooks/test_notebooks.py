"""Every committed notebook obeys the rules, and the checker rejects whatever breaks one."""

import base64
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_rules import LONGEST_CELL, MOST_CELLS, check_notebook

from cifar_utils.paths import project_root
from cifar_utils.runs.recipes import RECIPES
from cifar_utils.runs.run import NOTEBOOKS as NAMES
from cifar_utils.runs.run import STAGES

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
NAME = "02_preprocessing"
EPOCHS = ", ".join(f"{recipe.name} {recipe.epochs}" for recipe in RECIPES.values())


def test_the_folder_holds_exactly_the_notebooks():
    assert [path.stem for path in NOTEBOOKS] == list(NAMES)
    assert NAMES[: len(STAGES)] == STAGES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_breaks_no_rule(path):
    assert check_notebook(path) == []


# Cells of the smallest notebook that obeys every rule, by place.
TITLE, STEPS, PARAMETERS, IMPORTS, CHECKED, FIGURE, READING, LAST = 0, 1, 2, 4, 5, 7, 8, -1
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def show(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def make_notebook():
    """Build the smallest notebook that obeys every rule."""
    parameters = (
        'run_name: str = ""  # folder under outputs/runs; empty continues or opens one by itself\n'
        'dataset: str = "auto"  # auto, cifar10 or synthetic\n'
        'recipe: str = "quick"  # quick, fast, accurate or baseline (the documented one)\n'
        "seed: int = 0  # split, first weights, order and augmentation\n"
        f"epochs: int = None  # passes over the training images ({EPOCHS})"
    )
    picture = {"image/png": base64.b64encode(b"picture").decode(), "text/plain": "<Image>"}
    checked = new_output("execute_result", data={"text/plain": "(5000, 32, 32, 3)"})
    link = '<a href="https://example.org/a/b">here</a>, outputs/runs/a, 7 images/s'
    cells = [
        new_markdown_cell("# 2 · Preprocessing\n> What does the network see?"),
        new_markdown_cell(
            "1. Scale\n2. Split\n\n| reads | writes |\n|---|---|\n| a | b |\n\n"
            "[previous](01_data_exploration.ipynb) · [next](03_training.ipynb)"
        ),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell('import sys\n\nif "google.colab" in sys.modules:\n    %pip install x'),
        new_code_cell("def double(x):\n    return 2 * x", outputs=[show({"text/html": link})]),
        *(
            new_code_cell("shape", metadata={"tags": ["nbval-check-output"]}, outputs=[checked])
            for _ in range(2)
        ),
        new_code_cell("show()", outputs=[show(picture, **{"image/png": {"alt": "A bird"}})]),
        new_markdown_cell("The bird is turned."),
        *(new_markdown_cell("## More") for _ in range(5)),
        new_code_cell("summary", outputs=[show({"text/markdown": "## Summary\n| a |"})]),
    ]
    code = [cell for cell in cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def test_a_good_notebook_breaks_no_rule(tmp_path):
    nbformat.validate(make_notebook())
    assert check_notebook(make_notebook(), NAME) == []
    nbformat.write(make_notebook(), tmp_path / f"{NAME}.ipynb")
    assert check_notebook(tmp_path / f"{NAME}.ipynb") == []


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
LONG_DEF = "def f():\n" + "    a = 1\n" * 5
BROKEN = {
    "size": (output(CHECKED, show({"text/html": "x" * 1_000_000})), "bytes; at most"),
    "few cells": (lambda nb: nb.cells.__delitem__(slice(9, 11)), "13 cells, not 15 to"),
    "many cells": (
        lambda nb: nb.cells.extend(new_markdown_cell("## Summary") for _ in range(MOST_CELLS)),
        "50 cells, not 15 to",
    ),
    "kernel": (lambda nb: nb.metadata.kernelspec.update(name="my-venv"), "not python3"),
    "no kernel": (lambda nb: nb.metadata.pop("kernelspec"), "not python3"),
    "widget state": (add_metadata("widgets"), "holds 'widgets'"),
    "papermill": (add_metadata("papermill"), "holds 'papermill'"),
    "papermill in a cell": (add_metadata("papermill", LAST), "holds 'papermill'"),
    "timing": (add_metadata("execution", IMPORTS), "Cell 4: its metadata holds 'execution'"),
    "title": (edit(TITLE, "# 2 · ", "# "), "begins with '# 2 · Title'"),
    "number": (edit(TITLE, "# 2 · ", "# 3 · "), "begins with '# 2 · Title'"),
    "question": (edit(TITLE, "> What", "What"), "one-sentence question"),
    "no question": (edit(TITLE, "see?", "see."), "one-sentence question"),
    "steps": (edit(STEPS, "1. Scale\n", ""), "numbered steps"),
    "table": (edit(STEPS, "|", "-"), "table of what it reads"),
    "previous": (edit(STEPS, "01_data", "1_data"), "previous notebook, 01_data_exploration"),
    "next": (edit(STEPS, "(03_training", "(03-training"), "next notebook, 03_training"),
    "two parameter cells": (insert(3, PARAMETER_CELL), "2 code cells are tagged 'parameters'"),
    "no parameter cell": (
        lambda nb: nb.cells[PARAMETERS].metadata.clear(),
        "0 code cells are tagged 'parameters'",
    ),
    "no help": (edit(PARAMETERS, "  # auto, cifar10 or synthetic", ""), "is not `name: type"),
    "no type": (edit(PARAMETERS, "seed: int", "seed"), "is not `name: type"),
    "derived": (parameter("import os"), "'import os' is not `name: type"),
    "blank line": (parameter(""), "'' is not `name: type"),
    "union": (edit(PARAMETERS, "epochs: int", "epochs: int | None"), "is not `name: type"),
    "second =": (parameter('image_path: str = "a=b"  # x'), "papermill reads None"),
    "# in text": (parameter('image_path: str = "a  # b"  # x'), "is not a valid literal"),
    "unknown": (parameter("epoch: int = 5  # passes"), "no parameter 'epoch'"),
    "wrong type": (edit(PARAMETERS, "seed: int", "seed: float"), "its type is int, not float"),
    "no literal": (edit(PARAMETERS, "int = 0", "int = max(0, 1)"), "not a valid literal"),
    "out of range": (edit(PARAMETERS, "int = 0", "int = -1"), "not a valid literal"),
    "text for a number": (edit(PARAMETERS, "int = 0", 'int = "0"'), "not a valid literal"),
    "other seed": (edit(PARAMETERS, "int = 0", "int = 1"), "seed: its default is 0, not 1"),
    "no seed": (edit(PARAMETERS, "int = 0", "int = None"), "default is 0, not None"),
    "other recipe": (edit(PARAMETERS, '"quick"', '"baseline"'), "its default is 'quick'"),
    "overrides": (edit(PARAMETERS, "int = None", "int = 8"), "overrides a recipe"),
    "stale help": (edit(PARAMETERS, "(quick ", "(quick 1"), "epochs: its help is"),
    "other help": (edit(PARAMETERS, "or synthetic", "or other"), "dataset: its help is"),
    "long cell": (edit(IMPORTS, "def", "a = 1\n" * LONGEST_CELL + "def"), "17 lines of code"),
    "long def": (edit(IMPORTS, "def", LONG_DEF + "def"), "def f has 6 lines"),
    "no Python": (edit(IMPORTS, "return", "return return"), "not Python"),
    "%matplotlib": (edit(IMPORTS, "def", "%matplotlib inline\ndef"), "%matplotlib"),
    "pip": (edit(IMPORTS, "def", "!pip install x\ndef"), "pip outside"),
    "not executed": (lambda nb: nb.cells[LAST].update(execution_count=None), "in order"),
    "other order": (lambda nb: nb.cells[IMPORTS].update(execution_count=9), "in order"),
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
    "variable": (stream("CIFAR10_PATH=/mnt/data/x"), "path: /mnt/data"),
    "var": (stream("'/var/cache/x'"), "path: /var/cache"),
    "mac": (output(LAST, show({"text/plain": "(/Users/ada/x)"})), "path: /Users/ada"),
    "tmp": (output(LAST, show({"text/html": "<b>/tmp/a.png</b>"})), "path: /tmp/a.png"),
    "windows": (stream("C:\\Users\\ada"), "path: C:"),
    "unread figure": (edit(READING, "The bird", "## The bird"), "says what it shows"),
    "two figures": (
        lambda nb: nb.cells.insert(FIGURE, new_code_cell(**{**nb.cells[FIGURE], "id": "a"})),
        "Cell 7: no markdown cell after its figure",
    ),
    "no alt": (lambda nb: nb.cells[FIGURE].outputs[0].metadata.clear(), "text alternative"),
    "no summary": (lambda nb: nb.cells[LAST].outputs.clear(), "does not end with a '## Summary'"),
    "early summary": (
        lambda nb: nb.cells.extend(new_markdown_cell("## More") for _ in range(2)),
        "does not end with a '## Summary'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_checker_rejects_what_breaks_a_rule(what):
    change, told = BROKEN[what]
    notebook = make_notebook()
    change(notebook)
    problems = check_notebook(notebook, NAME)
    assert any(told in problem for problem in problems), problems


@pytest.mark.parametrize(
    "text",
    ["7 images/s", "loss / accuracy", "</b>", "https://a.b/c/d", "../a/b/c", "~/data/x", "1/2/3"],
)
def test_what_only_looks_like_a_path_is_no_problem(text):
    notebook = make_notebook()
    stream(text)(notebook)
    assert check_notebook(notebook, NAME) == []


def test_a_notebook_without_figures_or_cells_is_told_so_too():
    problems = check_notebook(new_notebook(), NAME)
    assert any("It has 0 cells" in problem for problem in problems)


def test_the_first_and_the_last_notebook_have_one_neighbour():
    notebook = make_notebook()
    edit(TITLE, "# 2", "# 1")(notebook)
    edit(STEPS, "(01_data_exploration.ipynb)", "(02_preprocessing.ipynb)")(notebook)
    assert check_notebook(notebook, STAGES[0]) == []


def test_the_app_holds_one_cell_and_nothing_that_anybody_has_shown_it():
    app = json.loads((project_root() / "cifar_utils" / "app.ipynb").read_text(encoding="utf-8"))
    assert "widgets" not in app["metadata"]
    (code,) = (cell for cell in app["cells"] if cell["cell_type"] == "code")
    assert code["outputs"] == []
    assert code["execution_count"] is None
