"""What is done to the committed notebooks: set-up cell and badge, exercises, a fresh execution."""

import re
import shutil

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_rules import check_notebook

from cifar_utils import paths
from cifar_utils.apps import notebooks
from cifar_utils.apps.cli import main
from cifar_utils.apps.execution import CellFailed
from cifar_utils.errors import CifarError
from cifar_utils.runs.run import NOTEBOOKS, STAGES

ADDRESS = "https://github.com/ada/cifar-notebooks"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of what these commands read and write, as the project's root."""
    root = tmp_path / "checkout"
    shutil.copytree(paths.notebooks_dir(), root / "notebooks")
    shutil.copy(paths.project_root() / "pyproject.toml", root)
    monkeypatch.setattr(paths, "project_root", lambda: root)
    monkeypatch.setattr(notebooks, "project_root", lambda: root)
    return root


def set_address(root, line):
    """Write `[project.urls]` as a person does, whatever it held before."""
    path = root / "pyproject.toml"
    text, count = re.subn(
        r"(\[project.urls\]\n).*?\n\n", rf"\1{line}\n\n", path.read_text(), flags=re.DOTALL
    )
    assert count == 1
    path.write_text(text)


def read_notebooks(root):
    return {path.stem: path.read_text() for path in (root / "notebooks").glob("*.ipynb")}


def test_the_committed_notebooks_are_what_make_links_would_write():
    changed = [path.name for path in notebooks.write_links(check=True)]
    assert not changed, f"run `make links`, and commit {changed}"


def test_an_address_reaches_every_notebook_and_leaves_again(checkout):
    set_address(checkout, "")
    notebooks.write_links()
    before = read_notebooks(checkout)
    assert not any("colab.research" in text for text in before.values())
    set_address(checkout, f'Repository = "{ADDRESS}"')
    assert len(notebooks.write_links()) == len(NOTEBOOKS)
    for stage in NOTEBOOKS:
        path = checkout / "notebooks" / f"{stage}.ipynb"
        assert check_notebook(path) == []
        first, setup = nbformat.read(path, as_version=4).cells[:2]
        path_there = f"ada/cifar-notebooks/blob/main/notebooks/{stage}.ipynb"
        assert first.source.splitlines()[-1].startswith("[![Open in Colab](https://")
        assert first.source.endswith(f"](https://colab.research.google.com/github/{path_there})")
        assert f"git+{ADDRESS}" in setup.source
    assert notebooks.write_links() == []
    set_address(checkout, "")
    notebooks.write_links()
    assert read_notebooks(checkout) == before


@pytest.mark.parametrize(
    "line",
    [
        'Repository = "https://gitlab.com/ada/cifar-notebooks"',
        "Repository = \"https://github.com/ada/x'); print('\"",
    ],
)
def test_an_address_that_colab_cannot_open_is_refused_before_anything_is_written(checkout, line):
    set_address(checkout, line)
    before = read_notebooks(checkout)
    result = CliRunner().invoke(main, ["links"])
    assert result.exit_code == 1
    assert "https://github.com/OWNER/NAME" in result.output
    assert read_notebooks(checkout) == before


def test_check_names_what_is_out_of_date_and_writes_nothing(checkout):
    notebooks.write_links()
    path = checkout / "notebooks" / f"{STAGES[1]}.ipynb"
    path.write_text(path.read_text().replace("#@title Set-up", "#@title Setup"))
    before = read_notebooks(checkout)
    result = CliRunner().invoke(main, ["links", "--check"])
    assert result.exit_code == 1
    assert f"{path.name} is not up to date" in result.output
    assert read_notebooks(checkout) == before
    assert "wrote 02" in CliRunner().invoke(main, ["links"]).output
    assert "Every notebook is up to date" in CliRunner().invoke(main, ["links", "--check"]).output


def test_a_notebook_without_its_one_set_up_cell_is_refused():
    notebook = new_notebook(cells=[new_markdown_cell("# 1 · A")])
    with pytest.raises(CifarError, match="has 0 cells"):
        notebooks.link_notebook(notebook, STAGES[0], "")


def test_outside_of_a_checkout_the_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    result = CliRunner().invoke(main, ["links"])
    assert result.exit_code == 1
    assert "Run this in a checkout" in result.output


def test_the_copies_for_exercises_hold_neither_solutions_nor_outputs(checkout):
    assert CliRunner().invoke(main, ["exercises"]).exit_code == 0
    copies = sorted((checkout / "exercises").glob("*.ipynb"))
    assert [path.stem for path in copies] == list(NOTEBOOKS)
    for path in copies:
        notebook = nbformat.read(path, as_version=4)
        assert notebooks.list_solutions(notebook) == []
        assert not any(cell.get("outputs") for cell in notebook.cells)


def test_solutions_are_found_and_key_cells_reduced_to_their_comment():
    folded = "<details><summary>Solution</summary>\n\n```python\nx = 2\n```\n</details>\n"
    notebook = new_notebook(
        cells=[
            new_markdown_cell(f"## Exercises\n1. Change x.\n\n{folded}\n2. Say why.\n\n{folded}"),
            new_markdown_cell("```python\nnot_a_solution\n```"),
            new_code_cell("# Fit the network.\nmodel.fit()", metadata={"tags": ["key"]}),
            new_code_cell("secret()", metadata={"tags": ["key"]}),
            new_code_cell("keep()", outputs=[new_output("stream", text="1")], execution_count=3),
        ]
    )
    assert notebooks.list_solutions(notebook) == ["x = 2\n", "x = 2\n"]
    stripped = notebooks.strip_notebook(notebook)
    exercises, _, fit, secret, kept = (cell.source for cell in stripped.cells)
    assert exercises == "## Exercises\n1. Change x.\n\n2. Say why."
    assert fit == "# Fit the network."
    assert secret.startswith("# Your turn")
    assert kept == "keep()"


def test_a_failure_leaves_the_committed_notebooks_as_they_were(checkout, runs_folder, monkeypatch):
    before = read_notebooks(checkout)

    def execute(source, target, parameters):
        if "03" in source.name:
            raise CellFailed("ValueError: no")
        shutil.copy(source, target)

    monkeypatch.setattr(notebooks, "execute_notebook", execute)
    monkeypatch.setattr(notebooks, "create_run", lambda name, parameters: None)
    with pytest.raises(CifarError, match=r"03_training failed; no notebook was changed.*no"):
        notebooks.refresh_notebooks()
    assert read_notebooks(checkout) == before


def test_the_injected_cell_goes_and_the_others_are_counted_without_it():
    tags = ([], ["injected-parameters"], [])
    cells = [
        new_code_cell(f"a = {n}", execution_count=n, metadata={"tags": tag})
        for n, tag in enumerate(tags, start=1)
    ]
    cells[2].outputs = [new_output("execute_result", execution_count=3)]
    left = notebooks.remove_injected_cell(new_notebook(cells=cells)).cells
    assert [(cell.source, cell.execution_count) for cell in left] == [("a = 1", 1), ("a = 3", 2)]
    assert left[1].outputs[0].execution_count == 2
