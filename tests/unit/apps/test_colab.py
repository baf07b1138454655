"""The set-up cell of the notebooks, run as it is: by IPython, beside a stand-in for `google.colab`.

The last tests let the real pip install in an environment of their own; none needs a network.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import types
import zipfile
from pathlib import Path

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


@pytest.fixture
def content(tmp_path):
    """Stands for Colab's folder /content."""
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


class Cell:
    """Runs a set-up cell in IPython: what it told pip, what it showed, and what it raised."""

    def __init__(self, source, content, monkeypatch, installed=False, pip_works=True):
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
            result = shell.run_cell(source.replace("/content", str(content)))
        self.error = result.error_before_exec or result.error_in_exec


def committed_source():
    notebook = nbformat.read(notebooks_dir() / f"{STAGES[0]}.ipynb", as_version=4)
    (setup,) = (cell.source for cell in notebook.cells if "set_up_colab()" in cell.source)
    return setup


def test_where_the_package_is_nothing_is_installed(content, monkeypatch):
    cell = Cell(committed_source(), content, monkeypatch, installed=True)
    assert (cell.pip, cell.error) == ([], None)


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_in_colab_pip_gets_the_wheel_or_the_address(in_colab, content, monkeypatch, address):
    monkeypatch.setattr(colab, "find_missing", lambda versions: [])
    cell = Cell(render_setup(address), content, monkeypatch)
    (line,) = cell.pip
    assert line.startswith("install -q --no-deps ")
    assert line.endswith(f"git+{ADDRESS}" if address else f"{content}/cifar_notebooks-*-any.whl")
    assert cell.error is None


@pytest.mark.parametrize(
    ("address", "advice"), [("", "upload the wheel"), (ADDRESS, "what pip says")]
)
def test_where_that_fails_python_shows_what_to_do(content, monkeypatch, capsys, address, advice):
    cell = Cell(render_setup(address), content, monkeypatch, pip_works=False)
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


# From here on: the real pip, in an environment that sees this one's packages and adds its own.

SESSION = """
import json, sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
import importlib.metadata, moving
from IPython.core.interactiveshell import InteractiveShell
importlib.metadata.requires = lambda name: ["wanted", "numpy>=1.26"]
shell = InteractiveShell.instance()
print(json.dumps([moving.VALUE, shell.run_cell(sys.argv[1]).success]))
"""


def write_wheel(folder, name, version, source, requires=()):
    """Write a wheel of one module by hand; return its path."""
    info = f"{name}-{version}.dist-info"
    about = "".join(f"Requires-Dist: {line}\n" for line in requires)
    texts = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{about}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD,,\n"
    for path, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record = f"{path},sha256={digest.decode()},{len(text.encode())}\n{record}"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in {**texts, f"{info}/RECORD": record}.items():
            file.writestr(name, text)
    return path


@pytest.fixture
def session(tmp_path, content):
    """A kernel of Colab: call it to run the committed cell in a new process."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    place = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")})
    # Its packages come after the new environment's own; an editable install there is not followed.
    Path(place, "base.pth").write_text(sysconfig.get_path("purelib"))
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    environment |= {"IPYTHONDIR": str(tmp_path / "ipython"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment.pop("PYTHONPATH", None)

    def run(*command):
        return subprocess.run(
            [python, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def run_cell():
        source = committed_source().replace("/content", str(content))
        done = run("-c", SESSION, source)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr

    old = write_wheel(tmp_path, "moving", "1.0", "VALUE = 1\n")
    assert run("-m", "pip", "install", "--quiet", old).returncode == 0
    return run_cell


def test_pip_moves_an_imported_package_and_the_next_session_goes_on(
    session, wheel, tmp_path, content
):
    write_wheel(tmp_path, "moving", "2.0", "VALUE = 2\n")
    write_wheel(tmp_path, "wanted", "1.0", "", ["moving>=2"])
    assert session()[0] == [1, False]  # nothing to install from yet
    (content / wheel.name).write_bytes(wheel.read_bytes())
    (result, text) = session()
    assert result == [1, False], text
    assert "Restart now" in text
    assert "moving 1.0 to 2.0" in text
    (result, text) = session()
    assert result == [2, True]
    assert "Installing" not in text


def test_pip_would_rather_fail_than_replace_numpy(session, wheel, tmp_path, content):
    write_wheel(tmp_path, "numpy", "99.0", "")
    write_wheel(tmp_path, "wanted", "1.0", "", ["numpy>=99"])
    (content / wheel.name).write_bytes(wheel.read_bytes())
    (result, text) = session()
    assert result == [1, False]
    assert "pip could not install wanted" in text
    assert "wanted 1.0 depends on numpy>=99" in text
