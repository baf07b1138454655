"""Reading the archive: what is right comes through, everything else is named and refused."""

import hashlib
import os
import pickle

import numpy as np
import pytest
import tiny_cifar as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_utils.data import archive
from cifar_utils.errors import DataError


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    return tiny.make_world(tmp_path, monkeypatch)


def test_images_come_in_order_with_red_green_blue_last(world):
    images, labels = archive.read_archive(tiny.write_archive(world / "a.tar.gz"))
    assert images.shape == (60, 32, 32, 3)
    assert images.dtype == np.uint8
    first_pixels = images[:: tiny.PER_BATCH, 0, 0].tolist()
    assert first_pixels == [[seed, 100, 200] for seed in (1, 2, 3, 4, 5, 6)]
    assert labels.tolist() == list(range(10)) * 6


def test_a_path_may_be_the_archive_the_extracted_folder_or_their_parent(world):
    file = tiny.write_archive(world / "one" / archive.ARCHIVE_NAME)
    folder = tiny.write_folder(world / "two" / archive.FOLDER_NAME)
    for path in (file, folder):
        found = [archive.inspect_place("here", place) for place in (path, path.parent)]
        assert [each.path for each in found] == [path, path]
    for a, b in zip(archive.read_archive(file), archive.read_archive(folder), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_official_folder_has_the_official_fingerprint(world, monkeypatch):
    folder = tiny.write_folder(world / archive.FOLDER_NAME)
    assert not archive.inspect_place("here", folder).official
    members = tiny.make_members().items()
    sums = {name: hashlib.md5(content).hexdigest() for name, content in members}
    monkeypatch.setattr(archive, "MEMBERS", sums)
    assert archive.inspect_place("here", folder).official
    (folder / "data_batch_3").write_bytes(b"other")
    assert not archive.inspect_place("here", folder).official


class Hostile:
    """Runs a command when an ordinary unpickler reads it."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


def batch(**changes):
    content = tiny.make_batch(1)
    content.update({key.encode(): value for key, value in changes.items()})
    return pickle.dumps(content, protocol=2)


BROKEN_MEMBERS = {
    "a missing member": ({"data_batch_4": None}, "data_batch_4 missing"),
    "a wrong shape": (
        {"data_batch_2": batch(data=np.zeros((10, 3071), np.uint8))},
        r"data_batch_2: images are uint8 \(10, 3071\), expected uint8 \(10, 3072\)",
    ),
    "too few labels": ({"data_batch_2": batch(labels=[1] * 9)}, "labels are 9 values, expected 10"),
    "a fractional label": ({"data_batch_2": batch(labels=[0.5] + [1] * 9)}, r"include \[0.5\]"),
    "label arrays of fractions": ({"data_batch_2": batch(labels=np.ones(10))}, r"include \[1.0"),
    "a hostile pickle": ({"data_batch_1": pickle.dumps(Hostile())}, "it asks for posix.system"),
    "an object array": ({"data_batch_1": batch(data=np.array([{}]))}, "array of type 'O8'"),
}


@pytest.mark.parametrize(("changes", "message"), BROKEN_MEMBERS.values(), ids=BROKEN_MEMBERS)
def test_a_broken_member_is_named_with_the_next_step(world, changes, message):
    path = tiny.write_archive(world / "copy", **changes)
    with pytest.raises(DataError, match=message) as caught:
        archive.read_archive(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 700
    assert "CIFAR10_PATH" in str(caught.value)
    assert not (world / "hacked").exists()


LABELS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
SAME_LABELS = (
    (tuple(LABELS), 2),
    (np.array(LABELS, np.uint8), 5),
    (np.array(LABELS)[:, None], 4),
    (list(np.array(LABELS, ">i4")), 4),
)


@pytest.mark.parametrize(("labels", "protocol"), SAME_LABELS)
def test_labels_and_names_of_an_equivalent_type_are_read(world, labels, protocol):
    content = {**tiny.make_batch(1), b"labels": labels}
    names = np.array(archive.CLASS_NAMES, "SU"[protocol % 2])
    changes = {"data_batch_1": pickle.dumps(content, protocol=protocol)}
    changes[archive.META] = pickle.dumps({"label_names": names})
    images, read = archive.read_archive(tiny.write_archive(world / "a.tar.gz", **changes))
    assert read[:10].tolist() == LABELS
    assert images[0, 0, 0].tolist() == [1, 100, 200]


@pytest.mark.parametrize("kept", [0.999, 0.01, 0])
def test_an_archive_that_was_cut_short_is_refused(world, kept):
    path = tiny.write_archive(world / "a.tar.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=r"a\.tar\.gz is no tar archive, damaged or cut short"):
        archive.read_archive(path)


def test_a_member_of_absurd_size_is_refused_before_it_is_read(world, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1_000)
    with pytest.raises(DataError, match="expected at most 1,000"):
        archive.read_archive(tiny.write_archive(world / "a.tar.gz"))


@pytest.mark.parametrize("name", ["nowhere", "cifar-100-python"])
def test_a_wrong_folder_is_refused(world, name):
    (world / "cifar-100-python").mkdir()
    (world / "cifar-100-python" / "train").write_bytes(b"")
    found = archive.inspect_place("here", world / name)
    assert (found.size, found.fingerprint) == (None, "")
    assert str(world / name) in found.problem
    assert "CIFAR10_PATH" in found.problem


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_passes_unnoticed(world, place, bit):
    path = world / "a.tar.gz"
    if not (world / "whole").exists():
        (world / "whole").write_bytes(tiny.write_archive(path).read_bytes())
    content = bytearray((world / "whole").read_bytes())
    path.write_bytes(content)
    whole = archive.read_archive(path)
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        images, labels = archive.read_archive(path)
    except DataError:
        return
    np.testing.assert_array_equal(images, whole[0])
    np.testing.assert_array_equal(labels, whole[1])


def test_pickles_of_python_2_and_3_are_read():
    by_python_2 = b"\x80\x02}(U\x06labels]K\x07aU\x01xU\x02\xff\x00u."
    assert archive.load_plain_pickle(by_python_2) == {"labels": [7], "x": b"\xff\x00"}
    for protocol in (2, 3, 4):
        for array in (np.arange(6, dtype=">i4").reshape(2, 3), np.eye(3, order="F")):
            content = pickle.dumps({"a": array, "b": [1.5, None]}, protocol)
            np.testing.assert_array_equal(archive.load_plain_pickle(content)["a"], array)


class Forged:
    """An array type that would make NumPy take numbers for the addresses of objects."""

    def __init__(self, code, byte_order):
        self.code, self.byte_order = code, byte_order

    def __reduce__(self):
        return np.dtype, (self.code, False, True), (3, self.byte_order, None, None, None, -1, -1, 0)


@pytest.mark.parametrize("forged", [Forged("O8", "|"), Forged("i8", "O,")])
def test_a_forged_array_type_is_refused(forged):
    with pytest.raises(pickle.UnpicklingError, match="array of type"):
        archive.load_plain_pickle(pickle.dumps({"data": forged}, protocol=2))
