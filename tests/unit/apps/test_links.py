"""Badge and set-up cell of every notebook are what `make links` would write."""

import re
import shutil

import nbformat
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_rules import LONGEST_CELL, check_notebook

from cifar_utils import paths as files
from cifar_utils.apps import links
from cifar_utils.apps.cli import main
from cifar_utils.errors import CifarError
from cifar_utils.runs.run import NOTEBOOKS, STAGES

ADDRESS = "https://github.com/ada/cifar-notebooks"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of what `make links` reads and writes, as the project's root."""
    root = tmp_path / "checkout"
    shutil.copytree(files.notebooks_dir(), root / "notebooks")
    shutil.copy(files.project_root() / "pyproject.toml", root)
    monkeypatch.setattr(files, "project_root", lambda: root)
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
    changed = [path.name for path in links.write_links(check=True)]
    assert not changed, f"run `make links`, and commit {changed}"


def test_an_address_reaches_every_notebook_and_leaves_again(checkout):
    set_address(checkout, "")
    links.write_links()
    before = read_notebooks(checkout)
    assert not any("colab.research" in text for text in before.values())
    set_address(checkout, f'Repository = "{ADDRESS}"')
    assert len(links.write_links()) == len(NOTEBOOKS)
    for stage in NOTEBOOKS:
        path = checkout / "notebooks" / f"{stage}.ipynb"
        assert check_notebook(path) == []
        first = nbformat.read(path, as_version=4).cells[0].source
        path_there = f"ada/cifar-notebooks/blob/main/notebooks/{stage}.ipynb"
        link = f"https://colab.research.google.com/github/{path_there}"
        assert first.splitlines()[-1].startswith("[![Open in Colab](https://")
        assert first.endswith(f"]({link})")
        assert f'"git+{ADDRESS}"' in path.read_text().replace('\\"', '"')
    assert links.write_links() == []
    set_address(checkout, 'Repository = "https://github.com/ada/moved.git"')
    links.write_links()
    assert all("ada/cifar-notebooks" not in text for text in read_notebooks(checkout).values())
    set_address(checkout, "")
    links.write_links()
    assert read_notebooks(checkout) == before


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_only_the_two_cells_change(address):
    for stage in NOTEBOOKS:
        notebook = nbformat.read(files.notebooks_dir() / f"{stage}.ipynb", as_version=4)
        before = nbformat.from_dict(notebook)
        links.link_notebook(notebook, stage, address)
        changed = [a.source != b.source for a, b in zip(notebook.cells, before.cells, strict=True)]
        assert {i for i, other in enumerate(changed) if other} <= {0, 3}
        for cell in (*notebook.cells, *before.cells):
            del cell["source"]
        assert notebook == before


@pytest.mark.parametrize(
    "line",
    [
        'Repository = "http://github.com/ada/cifar-notebooks"',
        'Repository = "https://gitlab.com/ada/cifar-notebooks"',
        'Repository = "https://github.com/ada"',
        'Repository = "https://github.com/ada/x/tree/main"',
        "Repository = \"https://github.com/ada/x'); print('\"",
        'Homepage = "https://github.com/ada/cifar-notebooks"',
    ],
)
def test_an_address_that_colab_cannot_open_is_refused_before_anything_is_written(checkout, line):
    set_address(checkout, line)
    before = read_notebooks(checkout)
    result = CliRunner().invoke(main, ["links"])
    assert result.exit_code == 1
    assert 'expected is one line, Repository = "https://github.com/OWNER/NAME"' in result.output
    assert read_notebooks(checkout) == before


def test_check_names_what_is_out_of_date_and_writes_nothing(checkout):
    links.write_links()
    path = checkout / "notebooks" / f"{STAGES[1]}.ipynb"
    path.write_text(path.read_text().replace("set_up_colab()  #", "set_up_colab( )  #"))
    before = read_notebooks(checkout)
    result = CliRunner().invoke(main, ["links", "--check"])
    assert result.exit_code == 1
    assert result.output.count("is not up to date") == 1
    assert f"{path.name} is not up to date" in result.output
    assert read_notebooks(checkout) == before
    assert "wrote 02" in CliRunner().invoke(main, ["links"]).output
    assert "Every notebook is up to date" in CliRunner().invoke(main, ["links", "--check"]).output


@pytest.mark.parametrize("count", [0, 2])
def test_a_notebook_without_its_one_set_up_cell_is_refused(count):
    setup = [new_code_cell(links.render_setup("")) for _ in range(count)]
    notebook = new_notebook(cells=[new_markdown_cell("# 1 · A"), *setup])
    with pytest.raises(CifarError, match=f"has {count} code cells"):
        links.link_notebook(notebook, STAGES[0], "")


def test_a_broken_template_is_noticed(checkout, monkeypatch):
    """The rules that every notebook keeps reject a template that does not run."""
    for old, new, told in (
        ("if not find_spec", "if not not find_spec(:", "not Python"),
        ("import sys\n", "import sys\n" * LONGEST_CELL, "lines of code"),
        ('"google.colab" in sys.modules and ', "", "pip outside"),
    ):
        assert old in links.SETUP_CELL
        with monkeypatch.context() as patch:
            patch.setattr(links, "SETUP_CELL", links.SETUP_CELL.replace(old, new))
            links.write_links()
        problems = check_notebook(checkout / "notebooks" / f"{STAGES[0]}.ipynb")
        assert any(told in problem for problem in problems), problems
        links.write_links()


def test_outside_of_a_checkout_the_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "project_root", lambda: tmp_path)
    result = CliRunner().invoke(main, ["links"])
    assert result.exit_code == 1
    assert "Run this in a checkout" in result.output
