"""Load CIFAR-10, or draw the synthetic set where it cannot be had. Start with `load_dataset`.

CIFAR-10 is looked for in the path given, else in `CIFAR10_PATH`; where neither is set in our cache,
in the copies that Keras and torchvision leave, and on the web. An archive that you name is used if
it reads well. One that was found by itself must be the official archive, bit for bit.
"""

import hashlib
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cifar_utils.data import archive, cifar10, synthetic
from cifar_utils.data.archive import CLASS_NAMES
from cifar_utils.data.cifar10 import DATASET_NAMES, GET_CIFAR10, find_dataset, get_named
from cifar_utils.errors import CifarError, DataError, ParameterError
from cifar_utils.paths import project_root, read_variable, relative_to_project
from cifar_utils.text import suggest

TITLES = {"cifar10": "CIFAR-10", "synthetic": "SYNTHETIC DATA (not CIFAR-10)"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, and where they come from. The arrays are read-only.

    Attributes:
        name: "cifar10" or "synthetic".
        train_images: uint8 (n, 32, 32, 3), and `test_images` likewise.
        train_labels: int64 (n,), indices into `class_names`, and `test_labels` likewise.
        source: Path of the archive, or the module that drew the images.
        fingerprint: "sha256:…", of the archive or of the drawn bytes.
        official: Whether this is CIFAR-10 as its authors publish it.
        note: Where it was found, or why it is the synthetic set.
    """

    name: str
    train_images: np.ndarray = field(repr=False)
    train_labels: np.ndarray = field(repr=False)
    test_images: np.ndarray = field(repr=False)
    test_labels: np.ndarray = field(repr=False)
    source: str
    fingerprint: str
    official: bool
    note: str = ""
    class_names: tuple[str, ...] = field(default=CLASS_NAMES, repr=False)

    @property
    def title(self) -> str:
        """The name as figures and reports show it."""
        return TITLES[self.name]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def to_json(self) -> dict:
        """Return what a run notes of its data set; no path of this machine is in it."""
        path = Path(self.source)
        inside = path.is_absolute() and path.is_relative_to(project_root())
        return {
            "name": self.name,
            "source": relative_to_project(path) if inside else path.name,
            "fingerprint": self.fingerprint,
            "official": self.official,
            "note": self.note,
            "n_train": len(self.train_images),
            "n_test": len(self.test_images),
        }

    def describe(self) -> str:
        """Say what was loaded: one line, or for the synthetic set a banner."""
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test images"
        if self.name == "synthetic":
            counts += ", drawn by this project. Results on them say nothing about CIFAR-10."
            return _draw_box(self.title, counts, *self.note.split("\n"))
        kind = "official" if self.official else "reads well, but is not the official archive"
        where = f"{Path(self.source).name} ({self.note})"
        return f"{self.title}: {counts} from {where}; {kind}; {self.fingerprint[:19]}…"


def _draw_box(*paragraphs, width=88):
    wrapped = [textwrap.wrap(text, width, break_on_hyphens=False) for text in paragraphs]
    lines = [line for paragraph in wrapped for line in (*paragraph, "")][:-1]
    width = max(len(line) for line in lines)
    bar = "━" * (width + 2)
    return "\n".join([f"┏{bar}┓", *(f"┃ {line:<{width}} ┃" for line in lines), f"┗{bar}┛"])


def load_dataset(name: str = "auto", path: str | os.PathLike | None = None) -> Dataset:
    """Load CIFAR-10 or the synthetic data set.

    Args:
        name: "cifar10": CIFAR-10 or an error. "synthetic": the drawn images. "auto": the value of
            `CIFAR_DATASET`; without it (or with a path) CIFAR-10 if it can be had, else the
            synthetic set.
        path: The official archive, its extracted folder, or a folder that holds one of them;
            `CIFAR10_PATH` by default. The synthetic set does not use it.

    Returns:
        A `Dataset`. Print its `describe()`.

    Raises:
        ParameterError: If `name` or `CIFAR_DATASET` is none of the three.
        DataError: If the path named is missing or damaged (whatever `name` is), or "cifar10" cannot
            be had.
        CifarError: If the disk has no room for the cache.
    """
    if name not in DATASET_NAMES:
        raise ParameterError(f"There is no data set {name!r}. {suggest(name, DATASET_NAMES)}")
    if name == "auto" and not path:
        name = read_variable("CIFAR_DATASET", DATASET_NAMES) or "auto"
    if name == "synthetic":
        return _draw_synthetic("You asked for it (the parameter dataset, or CIFAR_DATASET).")
    if named := get_named(path):
        return _read(*named)
    dataset = _load_from_machine()
    if dataset is not None:
        return dataset
    try:
        return _read("downloaded", cifar10.download_archive())
    except CifarError as error:
        if name == "cifar10":
            raise DataError(f"CIFAR-10 is not on this machine. {error} {GET_CIFAR10}") from error
        return _draw_synthetic(f"CIFAR-10 is not on this machine. {error}\n{GET_CIFAR10}")


def load_local_dataset() -> "Dataset | None":
    """Load what `load_dataset()` would, if that needs neither a download nor a drawn stand-in.

    Returns:
        CIFAR-10, or the synthetic set where `CIFAR_DATASET` asks for it; None if CIFAR-10 is not on
        this machine.

    Raises:
        DataError: If `CIFAR10_PATH` names something that is missing or damaged.
    """
    if read_variable("CIFAR_DATASET", DATASET_NAMES) == "synthetic":
        return load_dataset("synthetic")
    named = get_named(None)
    return _read(*named) if named else _load_from_machine()


def _load_from_machine():
    """Load the official CIFAR-10 from our cache or another tool's copy; None if there is none."""
    official = f"sha256:{archive.ARCHIVE_SHA256}"
    arrays = cifar10.load_cached(official)
    if arrays is not None:
        return _make_cifar10(*arrays, official, archive.ARCHIVE_NAME, "in our cache")
    for found in find_dataset():
        # A copy that only looks right must not stand in the way of the next one.
        if found.official:
            return _read(found.place, found.path)
    return None


def _read(place, path):
    path = archive.locate_archive(path)
    return _make_cifar10(*cifar10.load_arrays(path), str(path), place)


def _make_cifar10(images, labels, fingerprint, source, note):
    n_train = (len(archive.BATCHES) - 1) * archive.IMAGES_PER_BATCH
    labels = labels.astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False
    splits = (images[:n_train], labels[:n_train], images[n_train:], labels[n_train:])
    return Dataset("cifar10", *splits, source, fingerprint, archive.is_official(fingerprint), note)


def _draw_synthetic(why):
    splits = synthetic.make_synthetic()
    digest = hashlib.sha256()
    for array in splits:
        digest.update(array)
    source = f"cifar_utils.data.synthetic, seed {synthetic.SEED}"
    return Dataset("synthetic", *splits, source, f"sha256:{digest.hexdigest()}", False, why)
