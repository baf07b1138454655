"""Files are there whole or not at all; folders and variables of any machine are understood."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pooch
import pytest
import tiny_cifar

from cifar_utils import paths
from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.paths import atomic_path, write_text


def test_a_file_appears_only_at_the_end_and_a_failure_leaves_no_litter(tmp_path):
    target = tmp_path / "deep" / "weights.npz"
    with atomic_path(target) as temporary:
        assert (temporary.parent, temporary.suffix) == (target.parent, ".npz")
        temporary.write_text("new")
        assert not target.exists()

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def _write_often(path, letter):
    for _ in range(30):
        write_text(path, letter * 50_000)


def test_two_processes_never_mix_their_texts(tmp_path):
    target = write_text(tmp_path / "run.json", "a" * 50_000)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(target, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert target.read_text() in ("a" * 50_000, "b" * 50_000)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["run.json"]


# Environment variables


QUOTED = ["{}", " {} ", "' \"{}\" '", "“{}”"]


@pytest.mark.parametrize("form", QUOTED)
def test_quotes_and_blanks_around_a_variable_are_removed(monkeypatch, capsys, form):
    monkeypatch.setenv("CIFAR10_PATH", form.format("/my data/a.tar.gz"))
    assert paths.read_variable("CIFAR10_PATH") == "/my data/a.tar.gz"
    assert os.environ["CIFAR10_PATH"] == "/my data/a.tar.gz"  # also for kernels and libraries
    told = capsys.readouterr().err
    assert ("CIFAR10_PATH" in told) == (form not in QUOTED[:2])
    paths.read_variable("CIFAR10_PATH")
    assert capsys.readouterr().err == ""


def test_a_variable_with_choices_forgives_case_and_names_itself_otherwise(monkeypatch):
    choices = ("auto", "cifar10", "synthetic")
    monkeypatch.setenv("CIFAR_DATASET", "'Synthetic'")
    assert paths.read_variable("CIFAR_DATASET", choices) == "synthetic"
    monkeypatch.setenv("CIFAR_DATASET", "sinthetic")
    with pytest.raises(ParameterError, match=r"CIFAR_DATASET is 'sinthetic'.*'synthetic'"):
        paths.read_variable("CIFAR_DATASET", choices)
    for empty in ("", "  ", '""'):
        monkeypatch.setenv("CIFAR_DATASET", empty)
        assert paths.read_variable("CIFAR_DATASET", choices) == ""
    monkeypatch.delenv("CIFAR_DATASET")
    assert paths.read_variable("CIFAR_DATASET", choices) == ""


# Folders


FOLDERS = {"CIFAR_RUNS_DIR": paths.runs_dir, "CIFAR_CACHE_DIR": paths.cache_dir}


@pytest.mark.parametrize("variable", FOLDERS)
def test_an_environment_variable_moves_a_folder(tmp_path, monkeypatch, variable):
    find_folder = FOLDERS[variable]
    monkeypatch.setenv(variable, f'"{tmp_path}/else where"')
    assert find_folder() == tmp_path / "else where"
    monkeypatch.setenv(variable, "~/mine")
    assert find_folder() == Path.home() / "mine"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    with pytest.raises(ParameterError, match=f"{variable} is .*a file"):
        find_folder()


WITHOUT_HOME = """
import os, pwd, sys
if "HOME" not in os.environ:  # nor does the system know this user
    pwd.getpwuid = {}.__getitem__
from cifar_utils import data, paths
print(paths.cache_dir())
print(data.load_dataset("cifar10", sys.argv[1]).source)
paths.provide_home()
print(os.path.expanduser("~"))
"""


@pytest.mark.parametrize("home", [None, "/dev/null/home"])
def test_without_a_home_folder_there_is_a_place_to_write_and_it_is_told(tmp_path, home):
    """As in a container: the user is unknown, or the home folder cannot be made."""
    archive = tiny_cifar.write_archive(tmp_path / "data" / "a.tar.gz")
    moved = ("CIFAR_CACHE_DIR", "CIFAR10_PATH", "CIFAR_DATASET", "HOME")
    environment = {name: value for name, value in os.environ.items() if name not in moved}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(paths.project_root())}
    environment |= {} if home is None else {"HOME": home}
    tiny = "from cifar_utils.data import archive; archive.IMAGES_PER_BATCH = 10\n"
    done = subprocess.run(
        [sys.executable, "-c", tiny + WITHOUT_HOME, str(archive)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cache, source, new_home = done.stdout.splitlines()
    own = f"{tmp_path}/cifar-notebooks-{os.getuid()}/"
    assert [cache, new_home] == [own + "cifar_cache_dir", own + "home"]
    assert source == str(archive)
    assert cache in done.stderr
    assert "CIFAR_CACHE_DIR" in done.stderr
    assert (Path(cache) / "arrays").is_dir()


def test_in_a_read_only_checkout_runs_go_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("CIFAR_RUNS_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert paths.runs_dir() == paths.project_root() / "outputs" / "runs"
    monkeypatch.setattr(os, "access", lambda *_: False)
    folder = tmp_path / f"cifar-notebooks-{os.getuid()}" / "cifar_runs_dir"
    assert paths.runs_dir() == paths.runs_dir() == folder
    assert capsys.readouterr().err.count(f"{folder} is used instead") == 1


def test_a_temporary_folder_that_somebody_else_made_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("CIFAR_CACHE_DIR")
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "read-only" / name)
    trap = tmp_path / f"cifar-notebooks-{os.getuid()}"
    trap.mkdir()
    trap.chmod(0o777)
    with pytest.raises(CifarError, match=r"belongs to somebody else.*CIFAR_CACHE_DIR"):
        paths.cache_dir()
