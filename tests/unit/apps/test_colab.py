"""The set-up cell of the notebooks, run as it is: by IPython, beside a stand-in for `google.colab`.

`make test-colab` lets the real pip do it, with Colab's versions.
"""

import subprocess
import sys
import types

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from cifar_utils.apps import colab
from cifar_utils.apps.notebooks import render_setup
from cifar_utils.errors import CifarError
from cifar_utils.paths import notebooks_dir
from cifar_utils.runs.run import STAGES

ADDRESS = "https://github.com/ada/cifar-notebooks"
VERSIONS = {"keras": "3.8.0", "numpy": "2.0.2", "protobuf": "5.29.0", "six": "1.16"}

# IPython's advice beside each SystemExit.
pytestmark = pytest.mark.filterwarnings("ignore:To exit:UserWarning")


@pytest.fixture(autouse=True)
def _no_restart_pending(monkeypatch):
    monkeypatch.setattr(colab, "_moved", {})


@pytest.fixture
def in_colab(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))


class Cell:
    """Runs a set-up cell in IPython: what it told pip, what it showed, and what it raised."""

    def __init__(self, source, monkeypatch, installed=False, pip_works=True):
        self.pip = []
        modules = [name for name in sys.modules if name.partition(".")[0] == "cifar_utils"]

        with monkeypatch.context() as patch:

            def run_pip(line):
                self.pip.append(line)
                if pip_works:
                    patch.undo()

            shell = InteractiveShell()
            shell.register_magic_function(run_pip, magic_name="pip")
            for name in [] if installed else modules:
                patch.setitem(sys.modules, name, None)  # importing it raises ImportError
            result = shell.run_cell(source)
        self.error = result.error_before_exec or result.error_in_exec


def committed_source():
    notebook = nbformat.read(notebooks_dir() / f"{STAGES[0]}.ipynb", as_version=4)
    (setup,) = (cell.source for cell in notebook.cells if "set_up_colab()" in cell.source)
    return setup


def test_where_the_package_is_nothing_is_installed(monkeypatch):
    cell = Cell(committed_source(), monkeypatch, installed=True)
    assert (cell.pip, cell.error) == ([], None)


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_in_colab_pip_gets_the_wheel_or_the_address(in_colab, monkeypatch, address):
    monkeypatch.setattr(colab, "find_missing", lambda versions: [])
    cell = Cell(render_setup(address), monkeypatch)
    (line,) = cell.pip
    assert line.startswith("install -q --no-deps ")
    assert line.endswith(f"git+{ADDRESS}" if address else "/content/cifar_notebooks-*-any.whl")
    assert cell.error is None


@pytest.mark.parametrize(
    ("address", "advice"), [("", "upload the wheel"), (ADDRESS, "what pip says")]
)
def test_where_that_fails_python_shows_what_to_do(monkeypatch, capsys, address, advice):
    cell = Cell(render_setup(address), monkeypatch, pip_works=False)
    assert isinstance(cell.error, ImportError)
    shown = capsys.readouterr().out
    assert "make lab" in shown
    assert advice in shown


class Pip:
    """Stands for `subprocess.run` of pip, and moves versions as told."""

    def __init__(self, monkeypatch, before, after, requires, returncode=0):
        self.calls = []
        self.returncode, self.versions, self.after = returncode, before, after
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(colab, "_list_versions", lambda: self.versions)
        monkeypatch.setattr(colab.importlib.metadata, "requires", lambda name: requires)

    def run(self, command, **_):
        self.calls.append(command)
        self.versions = {**self.versions, **self.after}
        return types.SimpleNamespace(returncode=self.returncode, stdout="No matching distribution")


def test_only_what_is_missing_is_installed_and_colabs_own_is_held(in_colab, monkeypatch, capsys):
    requires = ["keras>=3.8", "papermill>=2.6", "six>=1.0", 'pytest>=8; extra == "dev"']
    pip = Pip(monkeypatch, VERSIONS, {"papermill": "2.7"}, requires)
    colab.set_up_colab()
    (command,) = pip.calls
    held = ["keras==3.8.0", "numpy==2.0.2", "protobuf==5.29.0"]
    assert command[command.index("install") + 1 :] == ["papermill>=2.6", *held]
    assert "papermill>=2.6" in capsys.readouterr().out
    colab.set_up_colab()
    assert len(pip.calls) == 1


def test_an_imported_package_that_moved_asks_for_a_restart_until_it_was(in_colab, monkeypatch):
    before = {**VERSIONS, "packaging": "23.0", "widgetsnbextension": "3.6"}
    after = {"papermill": "2.7", "packaging": "24.0", "widgetsnbextension": "4.0"}
    pip = Pip(monkeypatch, before, after, ["papermill>=2.6"])
    for _ in range(2):  # running the cell again is no restart
        with pytest.raises(SystemExit, match=r"^Restart now.*23.0 to 24") as told:
            colab.set_up_colab()
    assert "widgetsnbextension" not in str(told.value)  # it is not imported
    assert len(pip.calls) == 1


def test_a_colab_that_is_too_old_is_not_upgraded_but_told(in_colab, monkeypatch):
    pip = Pip(monkeypatch, VERSIONS, {}, ["keras>=3.9"])
    with pytest.raises(CifarError, match=r"has keras 3\.8\.0.*needs keras>=3\.9.*runtime type"):
        colab.set_up_colab()
    assert pip.calls == []


def test_a_failure_of_pip_is_shown(in_colab, monkeypatch):
    Pip(monkeypatch, VERSIONS, {}, ["papermill>=2.6"], returncode=1)
    with pytest.raises(CifarError, match="No matching distribution"):
        colab.set_up_colab()


def test_a_clone_as_the_current_folder_tells_its_requirements(monkeypatch):
    def requires(name):
        raise colab.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(colab.importlib.metadata, "requires", requires)
    names = {requirement.name for requirement in colab.find_missing({})}
    assert {"keras", "papermill", "ipywidgets"} <= names


def test_this_environment_has_all_that_the_package_requires(tmp_path, monkeypatch):
    (tmp_path / "~umpy-2.0.dist-info").mkdir()  # a broken installation of something else
    monkeypatch.syspath_prepend(tmp_path)
    assert colab.find_missing(colab._list_versions()) == []
