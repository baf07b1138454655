"""What the command `data` says of the copies on this machine."""

import pytest
import tiny_cifar as tiny

from cifar_utils import data
from cifar_utils.data import archive
from cifar_utils.data.cifar10 import describe_sources, find_dataset


@pytest.fixture
def world(tmp_path, monkeypatch):
    return tiny.make_world(tmp_path, monkeypatch)


def test_the_command_says_what_was_found_and_what_was_not(world, monkeypatch):
    text = describe_sources()
    assert text.startswith("No copy of CIFAR-10 was found.")
    assert str(world / "keras" / "datasets" / "cifar-10-batches-py-target_archive") in text
    assert "or the synthetic data set if no source answers" in text
    assert "set CIFAR10_PATH to the file" in text

    path = tiny.write_archive(world / "a.tar.gz")
    monkeypatch.setenv("CIFAR10_PATH", str(path))
    text = describe_sources()
    assert f"CIFAR10_PATH: {path}" in text
    assert "not the official archive, not in the array cache yet" in text
    assert archive.compute_fingerprint(path) in text
    dataset = data.load_dataset()
    assert "not the official archive, in the array cache" in describe_sources()
    assert f'"auto" loads: {path}' in describe_sources()
    assert find_dataset()[0].fingerprint == dataset.fingerprint


def test_the_command_tells_of_a_wrong_path_and_of_cifar_dataset(world, monkeypatch):
    (world / "empty").mkdir()
    monkeypatch.setenv("CIFAR10_PATH", str(world / "empty"))
    assert "Cannot be used: CIFAR10_PATH" in describe_sources()
    assert '"auto" loads: nothing' in describe_sources()
    monkeypatch.setenv("CIFAR_DATASET", "synthetic")
    assert '"auto" loads: synthetic, since CIFAR_DATASET says so' in describe_sources()
