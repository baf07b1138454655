"""A file is there whole or not at all, and a full disk is told before the work starts."""

import json
import multiprocessing
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_utils import paths as files
from cifar_utils.errors import CifarError
from cifar_utils.paths import atomic_path, check_free_space, write_json, write_text


def test_a_new_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "er" / "weights.npz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".npz"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_what_was_there_and_leaves_no_litter(tmp_path, error):
    target = tmp_path / "history.csv"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_as_readable_as_any_other_of_the_user(tmp_path):
    (tmp_path / "usual").write_text("")
    written = write_text(tmp_path / "ours", "")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def _write_often(path, letter):
    for _ in range(60):
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


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_json_is_read_back_as_it_was(tmp_path_factory, value):
    path = write_json(tmp_path_factory.getbasetemp() / "value.json", {"value": value})
    assert json.loads(path.read_text(encoding="utf-8")) == {"value": value}


def test_json_is_readable_by_a_person(tmp_path):
    path = write_json(tmp_path / "run.json", {"title": "95 % · é"})
    assert path.read_text(encoding="utf-8") == '{\n  "title": "95 % · é"\n}\n'


def test_too_little_space_is_told_with_the_place_the_need_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5e6))
    with pytest.raises(CifarError) as caught:
        check_free_space(tmp_path / "not" / "there" / "yet", 60e6, "a run")
    for part in ("5 MB free", "a run needs 60 MB", str(tmp_path / "not"), "CIFAR_RUNS_DIR"):
        assert part in str(caught.value)
    check_free_space(tmp_path, 5e6, "a run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "function"),
    [("CIFAR_RUNS_DIR", files.runs_dir), ("CIFAR_CACHE_DIR", files.cache_dir)],
)
def test_an_environment_variable_moves_a_folder(tmp_path, monkeypatch, variable, function):
    monkeypatch.setenv(variable, str(tmp_path / "else where"))
    assert function() == tmp_path / "else where"
    monkeypatch.setenv(variable, "~/mine")
    assert function() == Path.home() / "mine"


def test_the_project_is_found_from_any_folder(tmp_path, monkeypatch):
    root = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(tmp_path)
    assert files.project_root() == root
    assert files.notebooks_dir() == root / "notebooks"


def test_paths_inside_the_project_are_shown_relative(tmp_path):
    inside = files.project_root() / "outputs" / "runs" / "a"
    assert files.relative_to_project(inside) == os.path.join("outputs", "runs", "a")
    assert files.relative_to_project(tmp_path) == str(tmp_path)
