"""Load CIFAR-10, or draw the synthetic set where it cannot be had. Start with `load_dataset`.

An archive that you name is used if it reads well. One that was found by itself must be the official
archive, bit for bit.
"""

import hashlib
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cifar_utils.data import archive, synthetic
from cifar_utils.data.archive import CLASS_NAMES, Found, inspect_place
from cifar_utils.data.download import OFFICIAL_URL, download_archive
from cifar_utils.errors import CifarError, DataError, ParameterError
from cifar_utils.paths import (
    cache_dir,
    expand_home,
    project_root,
    read_variable,
    relative_to_project,
)
from cifar_utils.text import suggest

DATASET_NAMES = ("auto", "cifar10", "synthetic")
# What to do to have CIFAR-10, in one sentence.
GET_CIFAR10 = (
    f"To have CIFAR-10, download {OFFICIAL_URL} (170 MB) on any machine and set CIFAR10_PATH to the"
    " file, or put it into data/ in the project's folder."
)
TITLES = {"cifar10": "CIFAR-10", "synthetic": "SYNTHETIC DATA (not CIFAR-10)"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels, and where they come from. The arrays are read-only."""

    name: str  # "cifar10" or "synthetic"
    train_images: np.ndarray = field(repr=False)  # uint8 (n, 32, 32, 3)
    train_labels: np.ndarray = field(repr=False)  # int64 (n,), indices into `class_names`
    test_images: np.ndarray = field(repr=False)
    test_labels: np.ndarray = field(repr=False)
    source: str  # path of the archive, or the module that drew the images
    fingerprint: str  # "sha256:…", of the archive or of the drawn bytes
    official: bool  # whether this is CIFAR-10 as its authors publish it
    note: str = ""  # where it was found, or why it is the synthetic set
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
        inside = Path(self.source).is_relative_to(project_root())
        source = relative_to_project(self.source) if inside else Path(self.source).name
        plain = {name: getattr(self, name) for name in ("fingerprint", "official", "note")}
        counts = {"n_train": len(self.train_images), "n_test": len(self.test_images)}
        return {"name": self.name, "source": source, **plain, **counts}

    def describe(self) -> str:
        """Say what was loaded: one line, or for the synthetic set a banner."""
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test images"
        if self.name == "synthetic":
            counts += ", drawn by this project. Results on them say nothing about CIFAR-10."
            told = (self.title, counts, *self.note.split("\n"))
            lines = [line for part in told for line in textwrap.wrap(part, 88)]
            return "\n".join(["━" * 88, *lines, "━" * 88])
        kind = "official" if self.official else "reads well, but is not the official archive"
        where = f"{Path(self.source).name} ({self.note})"
        return f"{self.title}: {counts} from {where}; {kind}; {self.fingerprint[:19]}…"


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
    dataset = _find_cifar10(path)
    if dataset is not None:
        return dataset
    try:
        return _read(inspect_place("downloaded", download_archive()))
    except CifarError as error:
        if name == "cifar10":
            raise DataError(f"CIFAR-10 is not on this machine. {error} {GET_CIFAR10}") from error
        return _draw_synthetic(f"CIFAR-10 is not on this machine. {error}\n{GET_CIFAR10}")


def load_local_dataset() -> Dataset | None:
    """Load what `load_dataset()` would, if that needs neither a download nor a drawn stand-in.

    Returns:
        CIFAR-10, or the synthetic set where `CIFAR_DATASET` asks for it; None if CIFAR-10 is not on
        this machine.

    Raises:
        DataError: If `CIFAR10_PATH` names something that is missing or damaged.
    """
    if read_variable("CIFAR_DATASET", DATASET_NAMES) == "synthetic":
        return load_dataset("synthetic")
    return _find_cifar10()


def _find_cifar10(path=None):
    """Load what is named, else the official CIFAR-10 of this machine; None if there is none."""
    if named := _get_named(path):
        return _read(inspect_place(*named))
    if (arrays := archive.load_cached(archive.OFFICIAL)) is not None:
        return _make_cifar10(arrays, archive.ARCHIVE_NAME, archive.OFFICIAL, "in our cache")
    # A copy that only looks right must not stand in the way of the next one.
    found = next((found for found in find_dataset() if found.official), None)
    return found and _read(found)


def _read(found):
    if found.problem:
        raise DataError(found.problem)
    arrays = archive.load_arrays(found)
    return _make_cifar10(arrays, str(found.path), found.fingerprint, found.place)


def _make_cifar10(arrays, source, fingerprint, note):
    images, labels = arrays[0], arrays[1].astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False
    n_train = (len(archive.BATCHES) - 1) * archive.IMAGES_PER_BATCH
    splits = (images[:n_train], labels[:n_train], images[n_train:], labels[n_train:])
    return Dataset("cifar10", *splits, source, fingerprint, fingerprint == archive.OFFICIAL, note)


def _draw_synthetic(why):
    splits = synthetic.make_synthetic()
    digest = hashlib.sha256()
    for array in splits:
        digest.update(array)
    source = f"cifar_utils.data.synthetic, seed {synthetic.SEED}"
    return Dataset("synthetic", *splits, source, f"sha256:{digest.hexdigest()}", False, why)


def _get_named(path):
    """Return `(place, path)` of what the caller or `CIFAR10_PATH` names, or None."""
    if path:
        return "the path given", path
    named = read_variable("CIFAR10_PATH")
    return ("CIFAR10_PATH", named) if named else None


def find_dataset(path: str | os.PathLike | None = None) -> list[Found]:
    """Look for CIFAR-10: what is named, our cache, the copies of Keras and torchvision.

    Nothing is downloaded. `path` is as for `load_dataset`.
    """
    keras = expand_home(read_variable("KERAS_HOME") or "~/.keras") / "datasets"
    folder, target = archive.FOLDER_NAME, f"{archive.FOLDER_NAME}-target"
    names = (f"{target}_archive", target, f"{folder}.tar.gz", folder, archive.ARCHIVE_NAME)
    places = [named] if (named := _get_named(path)) else []
    places += [("our cache", cache_dir() / archive.ARCHIVE_NAME)]
    places += [("Keras's cache", keras / name) for name in names]
    for root in dict.fromkeys((project_root(), Path.cwd())):
        for name in (archive.ARCHIVE_NAME, folder):
            places.append(("torchvision's folder data", root / "data" / name))
    return [inspect_place(*place) for place in places]


def describe_sources(path: str | os.PathLike | None = None) -> str:
    """Tell in some lines what was found and where, what was not, and what "auto" will load.

    Nothing is downloaded, and no archive is unpacked. `path` is as for `load_dataset`.
    """
    places = find_dataset(path)
    lines, missing = [], ["Looked for, not there:"]
    for found in places:
        where = f"{found.place}: {found.path}"
        if found.fingerprint:
            official = "the official archive" if found.official else "not the official archive"
            cached = "" if archive.arrays_path(found.fingerprint).exists() else "not "
            lines.append(f"Found: {where}, {found.size / 1e6:.1f} MB")
            lines.append(f"  {official}, {cached}in the array cache, {found.fingerprint}")
        elif os.path.exists(found.path):
            lines.append(f"Cannot be used: {found.place}: {found.problem}")
        else:
            missing.append(f"  {where}")
    lines = [*(lines or ["No copy of CIFAR-10 was found."]), *missing]
    asked = read_variable("CIFAR_DATASET", DATASET_NAMES) or "auto"
    official = next((found for found in places if found.official), None)
    if asked != "auto":
        choice = f"{asked}, since CIFAR_DATASET says so. Unset it for CIFAR-10."
    elif _get_named(path):
        named = places[0]
        choice = f"nothing. Correct {named.place}." if named.problem else named.path
    elif archive.arrays_path(archive.OFFICIAL).exists():
        choice = "the official CIFAR-10 from the array cache"
    elif official:
        choice = official.path
    else:
        choice = (
            "the download, or the synthetic data set if no source answers. To use a copy that is"
            f" not the official one, set CIFAR10_PATH to it.\n{GET_CIFAR10}"
        )
    return "\n".join([*lines, f'"auto" loads: {choice}'])
