"""The array cache: fast the second time, never half written, safe for several processes."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_cifar as tiny
from unruly_server import serve

from cifar_utils import data
from cifar_utils.data import archive, cifar10
from cifar_utils.errors import CifarError, DataError


@pytest.fixture
def world(tmp_path, monkeypatch):
    return tiny.make_world(tmp_path, monkeypatch)


def cached_files(world):
    return sorted(p.name for p in (world / "cache").rglob("*") if p.is_file())


def test_the_second_time_neither_reads_nor_hashes_the_archive(world, monkeypatch):
    path = tiny.write_archive(world / "a.tar.gz")
    first = data.load_dataset("cifar10", path)

    def refuse(_):
        raise AssertionError("read again")

    monkeypatch.setattr(archive, "read_archive", refuse)
    monkeypatch.setattr(archive, "compute_fingerprint", refuse)
    second = data.load_dataset("cifar10", path)
    np.testing.assert_array_equal(first.train_images, second.train_images)
    np.testing.assert_array_equal(first.test_labels, second.test_labels)
    with pytest.raises(ValueError, match="read-only"):
        second.train_images[0] = 0


def test_a_changed_archive_is_read_again(world):
    path = tiny.write_archive(world / "a.tar.gz")
    before = data.load_dataset("cifar10", path)
    other = tiny.make_members()["data_batch_5"]
    tiny.write_archive(path, test_batch=other)
    after = data.load_dataset("cifar10", path)
    assert before.fingerprint != after.fingerprint
    assert after.test_images[0, 0, 0].tolist() == [5, 100, 200]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_cache_is_made_again(world, damage):
    path = tiny.write_archive(world / "a.tar.gz")
    fingerprint = data.load_dataset("cifar10", path).fingerprint
    file = cifar10.arrays_path(fingerprint)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    for note in (world / "cache" / "seen").iterdir():
        note.write_text("{")
    assert data.load_dataset("cifar10", path).train_images[0, 0, 0].tolist() == [1, 100, 200]
    assert file.read_bytes() == content


def test_a_broken_archive_leaves_no_arrays(world):
    path = tiny.write_archive(world / "a.tar.gz", data_batch_5=b"")
    with pytest.raises(DataError, match="data_batch_5"):
        data.load_dataset("cifar10", path)
    assert [name for name in cached_files(world) if "npy" in name] == []


def test_a_full_disk_is_told_and_leaves_no_half_written_cache(world, monkeypatch):
    path = tiny.write_archive(world / "a.tar.gz")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(CifarError, match=r"array cache of CIFAR-10.*CIFAR_CACHE_DIR"):
            data.load_dataset("auto", path)

    def fill_up(file, array):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", fill_up)
        with pytest.raises(DataError, match=r"No space left on device.*CIFAR_CACHE_DIR"):
            data.load_dataset("auto", path)
    assert [name for name in cached_files(world) if "npy" in name] == []
    assert data.load_dataset("auto", path).name == "cifar10"


LOAD_IN_ANOTHER_PROCESS = """
import hashlib, sys
from cifar_utils import data
from cifar_utils.data import archive, cifar10
archive.IMAGES_PER_BATCH, cifar10.SOURCES = 10, ()
archive.ARCHIVE_SHA256, archive.ARCHIVE_BYTES = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
dataset = data.load_dataset("cifar10")
print("digest", hashlib.sha256(dataset.train_images).hexdigest())
"""


@pytest.mark.parametrize("way", ["an archive", "a download"])
def test_processes_that_need_the_data_at_once_do_not_hurt_each_other(world, monkeypatch, way):
    path = tiny.write_archive(world / "served.tar.gz")
    with serve(tiny.declare_official(path, monkeypatch)) as address:
        by_url = {"CIFAR10_URL": f"{address}/good"}
        chosen = {"CIFAR10_PATH": str(path)} if way == "an archive" else by_url
        command = [sys.executable, "-c", LOAD_IN_ANOTHER_PROCESS]
        command += [archive.ARCHIVE_SHA256, str(archive.ARCHIVE_BYTES)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = [
            subprocess.Popen(command, text=True, env={**os.environ, **chosen}, **pipes)
            for _ in range(3)
        ]
        for process in running:  # all have started: let them go
            process.stdin.write("\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], results
    assert len({out.splitlines()[-1] for out, _ in results}) == 1
    assert len([name for name in cached_files(world) if name.endswith(".npy")]) == 1
    assert not [name for name in cached_files(world) if name.startswith(".")]
