"""Which data set one gets and from where, what is kept in the cache, and what one is told."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_cifar as tiny
from unruly_server import serve

from cifar_utils import data
from cifar_utils.data import archive, describe_sources
from cifar_utils.errors import DataError


@pytest.fixture
def world(tmp_path, monkeypatch):
    return tiny.make_world(tmp_path, monkeypatch)


# What the user names


def test_the_named_archive_is_used_and_told_apart_from_the_official_one(world, monkeypatch):
    path = tiny.write_archive(world / "mine.tar.gz")
    dataset = data.load_dataset("cifar10", path)
    assert (dataset.name, dataset.title, dataset.num_classes) == ("cifar10", "CIFAR-10", 10)
    assert dataset.train_images.shape == (50, 32, 32, 3)
    assert dataset.test_labels.tolist() == list(range(10))
    assert dataset.test_labels.dtype == np.int64
    assert dataset.test_images[0, 0, 0].tolist() == [6, 100, 200]
    assert dataset.source == str(path)
    assert "not the official archive" in dataset.describe()
    assert "\n" not in dataset.describe()
    tiny.declare_official(path, monkeypatch)
    assert data.load_dataset("cifar10", path).official
    assert "; official; sha256:" in data.load_dataset("cifar10", path).describe()


def test_the_argument_goes_before_the_environment(world, monkeypatch):
    monkeypatch.setenv("CIFAR10_PATH", str(world / "nowhere"))
    monkeypatch.setenv("CIFAR_DATASET", "synthetic")
    path = tiny.write_folder(world / "mine" / archive.FOLDER_NAME)
    assert data.load_dataset("auto", path.parent).source == str(path)
    assert data.load_dataset().name == "synthetic"


def test_a_wrong_name_is_an_error_even_where_a_good_copy_lies(world, monkeypatch):
    good = tiny.write_archive(world / "project" / "data" / archive.ARCHIVE_NAME)
    tiny.declare_official(good, monkeypatch)
    monkeypatch.setenv("CIFAR10_PATH", str(world / "typo.tar.gz"))
    with pytest.raises(DataError, match=r"typo\.tar\.gz does not exist"):
        data.load_dataset("auto")
    (world / "typo.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"typo\.tar\.gz is no tar archive"):
        data.load_dataset("auto")


# What nobody named


PLACES = {
    "our cache": "cache/cifar-10-python.tar.gz",
    "Keras 3.15": "keras/datasets/cifar-10-batches-py-target_archive",
    "torchvision": "project/data/cifar-10-python.tar.gz",
}
FOLDERS = {
    "Keras": "keras/datasets/cifar-10-batches-py",
    "torchvision, current folder": "data/cifar-10-batches-py",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_archives_that_other_tools_left_are_found(world, monkeypatch, place):
    path = tiny.write_archive(world / place)
    tiny.declare_official(path, monkeypatch)
    dataset = data.load_dataset("auto")
    assert (dataset.source, dataset.official) == (str(path), True)
    assert '"auto" loads: the official CIFAR-10 from the array cache' in describe_sources()


@pytest.mark.parametrize("place", FOLDERS.values(), ids=FOLDERS)
def test_folders_that_other_tools_left_are_found(world, monkeypatch, place):
    path = tiny.write_folder(world / place)
    sums = {n: hashlib.md5((path / n).read_bytes()).hexdigest() for n in archive.MEMBERS}
    monkeypatch.setattr(archive, "MEMBERS", sums)
    assert data.load_dataset("cifar10").source == str(path)


def test_a_leftover_that_is_not_official_or_damaged_is_passed_over(world, monkeypatch):
    tiny.write_archive(world / PLACES["our cache"], test_batch=None)
    (world / FOLDERS["Keras"]).mkdir(parents=True)
    good = tiny.write_archive(world / PLACES["torchvision"])
    tiny.declare_official(good, monkeypatch)
    assert data.load_dataset("cifar10").source == str(good)
    good.unlink()
    shutil.rmtree(world / "cache" / "arrays")
    assert data.load_dataset("auto").name == "synthetic"
    assert "set CIFAR10_PATH to it" in describe_sources()


def test_without_any_copy_auto_is_synthetic_and_nobody_can_miss_it(world):
    dataset = data.load_dataset("auto")
    assert (dataset.name, dataset.official) == ("synthetic", False)
    banner = dataset.describe().splitlines()
    assert "SYNTHETIC DATA (not CIFAR-10)" in banner[1]
    text = " ".join(banner)
    assert "could not be downloaded" in text
    assert "set CIFAR10_PATH to the file" in text
    with pytest.raises(DataError, match=r"not on this machine.*set CIFAR10_PATH to the file"):
        data.load_dataset("cifar10")


# The real thing


@pytest.mark.cifar10
def test_real_cifar10_is_what_it_should_be_and_loads_fast(cifar10_path):
    dataset = data.load_dataset("cifar10")
    assert dataset.train_images.shape == (50_000, 32, 32, 3)
    assert np.bincount(dataset.train_labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1000] * 10
    assert dataset.train_images[0, 0, 0].tolist() == [59, 62, 63]
    assert dataset.test_images[0, 0, 0].tolist() == [158, 112, 49]
    start = time.process_time()
    data.load_dataset("cifar10")
    assert time.process_time() - start < 0.5


def test_the_local_data_set_is_never_fetched_nor_drawn_in_its_place(world, monkeypatch):
    def refuse():
        raise AssertionError("a download was started")

    monkeypatch.setattr("cifar_utils.data.dataset.download_archive", refuse)
    assert data.load_local_dataset() is None
    monkeypatch.setenv("CIFAR_DATASET", "synthetic")
    assert data.load_local_dataset().name == "synthetic"
    monkeypatch.delenv("CIFAR_DATASET")
    monkeypatch.setenv("CIFAR10_PATH", str(world / "no-such-file"))
    with pytest.raises(DataError, match="no-such-file"):
        data.load_local_dataset()


# The cache of arrays


def cached_files(world):
    return sorted(p.name for p in (world / "cache").rglob("*") if p.is_file())


def test_the_second_time_does_not_read_the_archive(world, monkeypatch):
    path = tiny.write_archive(world / "a.tar.gz")
    first = data.load_dataset("cifar10", path)

    def refuse(_):
        raise AssertionError("read again")

    monkeypatch.setattr(archive, "read_archive", refuse)
    second = data.load_dataset("cifar10", path)
    np.testing.assert_array_equal(first.train_images, second.train_images)
    np.testing.assert_array_equal(first.test_labels, second.test_labels)
    with pytest.raises(ValueError, match="read-only"):
        second.train_images[0] = 0


def test_a_damaged_cache_is_made_again(world):
    path = tiny.write_archive(world / "a.tar.gz")
    file = archive.arrays_path(data.load_dataset("cifar10", path).fingerprint)
    content = file.read_bytes()
    for damaged in (b"nonsense", content[: len(content) // 2]):
        file.write_bytes(damaged)
        assert data.load_dataset("cifar10", path).train_images[0, 0, 0].tolist() == [1, 100, 200]
        assert file.read_bytes() == content


def test_a_full_disk_is_told_and_leaves_no_half_written_cache(world, monkeypatch):
    path = tiny.write_archive(world / "a.tar.gz")

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
from cifar_utils.data import archive, download
archive.IMAGES_PER_BATCH, download.SOURCES = 10, ()
archive.OFFICIAL, archive.ARCHIVE_BYTES = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
dataset = data.load_dataset("cifar10")
print("digest", hashlib.sha256(dataset.train_images).hexdigest())
"""


def test_processes_that_download_the_data_at_once_do_not_hurt_each_other(world, monkeypatch):
    path = tiny.write_archive(world / "served.tar.gz")
    with serve(tiny.declare_official(path, monkeypatch)) as address:
        command = [sys.executable, "-c", LOAD_IN_ANOTHER_PROCESS]
        command += [archive.OFFICIAL, str(archive.ARCHIVE_BYTES)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**os.environ, "CIFAR10_URL": f"{address}/good"}
        running = [subprocess.Popen(command, text=True, env=environment, **pipes) for _ in range(2)]
        for process in running:  # all have started: let them go
            process.stdin.write("\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], results
    assert len({out.splitlines()[-1] for out, _ in results}) == 1
    assert len([name for name in cached_files(world) if name.endswith(".npy")]) == 1
    assert not [name for name in cached_files(world) if name.startswith(".")]


# What the command `data` prints


def test_the_command_says_what_was_found_and_what_was_not(world, monkeypatch):
    text = describe_sources()
    assert text.startswith("No copy of CIFAR-10 was found.")
    assert str(world / "keras" / "datasets" / "cifar-10-batches-py-target_archive") in text
    assert "or the synthetic data set if no source answers" in text
    assert "set CIFAR10_PATH to the file" in text

    path = tiny.write_archive(world / "a.tar.gz")
    monkeypatch.setenv("CIFAR10_PATH", str(path))
    dataset = data.load_dataset()
    text = describe_sources()
    assert f"CIFAR10_PATH: {path}" in text
    assert "not the official archive, in the array cache" in text
    assert dataset.fingerprint in text
    assert f'"auto" loads: {path}' in text

    monkeypatch.setenv("CIFAR10_PATH", str(world / "project.txt"))
    (world / "project.txt").mkdir()
    assert "Cannot be used: CIFAR10_PATH" in describe_sources()
    assert '"auto" loads: nothing' in describe_sources()
    monkeypatch.setenv("CIFAR_DATASET", "synthetic")
    assert '"auto" loads: synthetic, since CIFAR_DATASET says so' in describe_sources()
