"""Inspect and read the CIFAR-10 archive. Nothing is extracted, and nothing in it is run.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html; Krizhevsky, "Learning Multiple Layers of
Features from Tiny Images", 2009.
"""

import errno
import hashlib
import io
import pickle
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifar_utils.errors import DataError
from cifar_utils.paths import atomic_path, cache_dir, check_free_space, expand_home

ARCHIVE_NAME = "cifar-10-python.tar.gz"
ARCHIVE_BYTES = 170_498_071
# The fingerprint of the archive which the authors publish.
OFFICIAL = "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
FOLDER_NAME = "cifar-10-batches-py"

META = "batches.meta"
# In the order of the arrays. The MD5 sums: torchvision/datasets/cifar.py.
BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
MEMBERS = {**BATCHES, META: "5ff9c542aee3614f3951f8cda6e48888"}
IMAGES_PER_BATCH = 10_000
IMAGE_SHAPE = (32, 32, 3)
# An official batch has 31 MB. A larger member is not CIFAR-10, and would only fill the memory.
MAX_MEMBER_BYTES = 64_000_000

CLASS_NAMES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

NO_ROOM = "Is the disk full? Free some space, or move the cache with CIFAR_CACHE_DIR."
_REPLACE = f"Put a fresh copy of {ARCHIVE_NAME} there, or name another one with CIFAR10_PATH."


@dataclass(frozen=True)
class Found:
    """One place where CIFAR-10 was looked for."""

    place: str  # in words
    path: Path  # of the archive or the extracted folder; where neither was found, what was tried
    size: int | None = None  # bytes; None if there is nothing usable
    fingerprint: str = ""  # "sha256:…"
    problem: str = ""  # why it cannot be used

    @property
    def official(self) -> bool:
        """Whether it is the archive which the authors publish."""
        return self.fingerprint == OFFICIAL


def inspect_place(place, path):
    """Look for the archive at a path, hash it, and return a `Found`.

    The path may be the file, the extracted folder, or a folder with either. An extracted folder of
    the official files has the fingerprint of the official archive.
    """
    path = expand_home(path).absolute()
    problem = f"is not CIFAR-10: neither {ARCHIVE_NAME} nor {FOLDER_NAME} with its files is there"
    try:
        for file in (path, path / ARCHIVE_NAME):
            if file.is_file():
                with open(file, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                return Found(place, file, file.stat().st_size, f"sha256:{digest}")
        for folder in (path, path / FOLDER_NAME):
            present = [folder / name for name in MEMBERS if (folder / name).is_file()]
            if len(present) == len(MEMBERS):
                size = sum(file.stat().st_size for file in present)
                return Found(place, folder, size, _hash_members(present))
            if present:
                missing = set(MEMBERS) - {file.name for file in present}
                problem = f"is incomplete: {', '.join(sorted(missing))} missing"
        if not path.exists():
            problem = "does not exist"
    except OSError as error:
        problem = f"cannot be opened ({error.strerror})"
    return Found(place, path, problem=f"{path} {problem}. {_REPLACE}")


def _hash_members(files):
    """Return the fingerprint of an extracted folder, the official one if these are its files."""
    sums = {}
    for file in files:
        with open(file, "rb") as stream:
            sums[file.name] = hashlib.file_digest(stream, "md5").hexdigest()
    if sums == MEMBERS:
        return OFFICIAL
    return f"sha256:{hashlib.sha256(''.join(sums.values()).encode()).hexdigest()}"


def arrays_path(fingerprint):
    """Return where the arrays of a fingerprint are kept: pixels, then labels, as one row."""
    return cache_dir() / "arrays" / f"cifar10-{fingerprint.removeprefix('sha256:')}.npy"


def load_cached(fingerprint):
    """Load the arrays of a fingerprint from the cache, as `read_archive` returns them, or None."""
    n = len(BATCHES) * IMAGES_PER_BATCH
    try:
        row = np.load(arrays_path(fingerprint))
    except (OSError, ValueError, EOFError):
        return None
    if row.dtype != np.uint8 or row.shape != (n * (np.prod(IMAGE_SHAPE) + 1),):
        return None
    return row[:-n].reshape(n, *IMAGE_SHAPE), row[-n:]


def load_arrays(found):
    """Load a `Found` without a problem, as `read_archive` does; from and into the cache.

    Raises:
        DataError: If the archive is damaged, or the disk is full.
        CifarError: If the disk has no room for the cache.
    """
    arrays = load_cached(found.fingerprint)
    if arrays is not None:
        return arrays
    needed = len(BATCHES) * IMAGES_PER_BATCH * (np.prod(IMAGE_SHAPE) + 2)
    check_free_space(cache_dir(), needed, "the array cache of CIFAR-10")
    images, labels = read_archive(found.path)
    target = arrays_path(found.fingerprint)
    try:
        with atomic_path(target) as temporary:
            np.save(temporary, np.concatenate([images.reshape(-1), labels]))
    except OSError as error:
        # Where nothing can be written, the next start takes 3 s longer without a cache.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(f"Could not write {target} ({error}). {NO_ROOM}") from error
    return images, labels


def read_archive(path):
    """Read and check all images and labels of an archive or an extracted folder.

    Returns:
        `(images, labels)`: uint8 (60000, 32, 32, 3) and uint8 (60000,), the training images first.

    Raises:
        DataError: If it is damaged, cut short or incomplete, if a pickle holds anything but arrays
            and plain values, or if shapes, types or label counts are not CIFAR-10's.
    """
    n = IMAGES_PER_BATCH
    images = np.empty((len(BATCHES) * n, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(len(images), np.uint8)
    missing = list(MEMBERS)
    for name, content in _read_members(path):
        where = f"{path}, member {name}"
        try:
            values = load_plain_pickle(content)
        # A damaged or hostile pickle can raise nearly anything, MemoryError included.
        except Exception as error:
            raise DataError(
                f"{where}: refused, since it is not a plain pickle of arrays, numbers and text"
                f" ({str(error) or type(error).__name__}). {_REPLACE}"
            ) from error
        if name == META:
            names = _to_list(values.get("label_names"))
            names = [n.decode("latin1") if isinstance(n, bytes) else n for n in names or ()]
            _expect(tuple(names) == CLASS_NAMES, where, f"class names {names}", CLASS_NAMES)
        else:
            rows = slice(list(BATCHES).index(name) * n, (list(BATCHES).index(name) + 1) * n)
            images[rows], labels[rows] = _check_batch(values, where)
        missing.remove(name)
    if missing:
        raise DataError(f"{path} is incomplete: {', '.join(missing)} missing. {_REPLACE}")
    return images, labels


def _read_members(path):
    """Yield `(name, content)` of the members of an archive, each once."""
    if path.is_dir():
        for name in MEMBERS:
            _expect_size((path / name).stat().st_size, f"{path}, member {name}")
            yield name, (path / name).read_bytes()
        return
    wanted = set(MEMBERS)
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name in wanted and member.isfile():
                    wanted.remove(name)
                    _expect_size(member.size, f"{path}, member {name}")
                    yield name, tar.extractfile(member).read()
            # gzip's check sum comes last: read on, or a flipped bit would pass.
            while tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        reason = str(error).partition("\n")[0].rstrip(":")  # one line for each decompressor
        raise DataError(
            f"{path} is no tar archive, damaged or cut short ({reason}). It has"
            f" {path.stat().st_size:,} bytes, the official archive {ARCHIVE_BYTES:,}. {_REPLACE}"
        ) from error


def _check_batch(values, where):
    """Return the images (n, 32, 32, 3) and labels (n,) of one batch, if they are CIFAR-10's."""
    n, data, labels = IMAGES_PER_BATCH, values.get("data"), values.get("labels")
    found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
    _expect(found == f"uint8 ({n}, 3072)", where, f"images are {found}", f"uint8 ({n}, 3072)")
    listed = _to_list(labels)
    found = repr(labels) if listed is None else f"{len(listed)} values"
    _expect(found == f"{n} values", where, f"labels are {found}", f"{n} whole numbers")
    wrong = [x for x in listed if type(x) is not int or not 0 <= x < len(CLASS_NAMES)]
    _expect(not wrong, where, f"labels include {wrong}", "whole numbers from 0 to 9")
    # Stored as all red, all green, all blue values of an image.
    return data.reshape(n, 3, 32, 32).transpose(0, 2, 3, 1), listed


def _to_list(values):
    """Return a list, tuple or array, (n,) or (n, 1), as a list of plain values; else None."""
    if isinstance(values, np.ndarray) and values.shape in {(len(values),), (len(values), 1)}:
        return values.reshape(-1).tolist()
    return list(values) if isinstance(values, list | tuple) else None


def _expect(holds, where, found, expected):
    if not holds:
        found = " ".join(found[:90].split()) + (" …" if len(found) > 90 else "")
        raise DataError(f"{where}: {found}, expected {expected}. {_REPLACE}")


def _expect_size(size, where):
    _expect(size <= MAX_MEMBER_BYTES, where, f"{size:,} bytes", f"at most {MAX_MEMBER_BYTES:,}")


def load_plain_pickle(content):
    """Read a pickled dictionary of arrays and plain values without running anything in it.

    Args:
        content: The bytes of a pickle, written by Python 2 or 3.

    Returns:
        The dictionary, its keys as text; arrays are read-only NumPy arrays.

    Raises:
        pickle.UnpicklingError: If it contains anything else. Damaged bytes can raise nearly any
            other exception.
    """
    values = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    return {
        key.decode() if isinstance(key, bytes) else key: v.value if isinstance(v, _Array) else v
        for key, v in values.items()
    }


# A pickle can name any function and have it called. Those that it may name are the small ones
# below, never NumPy's own: a forged dtype could make NumPy take numbers for addresses.


class _Array:
    """Stands in for `numpy.ndarray` and for the function that pickles call to make one."""

    def __init__(self, *_ignored):
        self.value = None

    def __setstate__(self, state):
        _version, shape, dtype, is_fortran, content = state
        self.value = np.frombuffer(content, dtype.code)
        self.value = self.value.reshape(shape, order="F" if is_fortran else "C")


def _make_array(content, dtype, shape, order):
    """Stands in for the function that pickles of protocol 5 call to make an array."""
    array = _Array()
    array.value = np.frombuffer(content, dtype.code).reshape(shape, order=order)
    return array


class _DType:
    """Stands in for `numpy.dtype`: numbers and text of a fixed length, no objects, no records."""

    def __init__(self, code, *_ignored):
        self.code = _match(code, r"[biuf][1248]|[SU]\d{1,4}")

    def __setstate__(self, state):
        self.code = _match(state[1], r"[<>|=]") + self.code


def _make_scalar(dtype, content):
    """Stands in for the function that pickles call to make a single NumPy number or text."""
    return np.frombuffer(content, dtype.code)[0].item()


def _match(text, pattern):
    text = text.decode() if isinstance(text, bytes) else text
    if not re.fullmatch(pattern, text):
        raise pickle.UnpicklingError(f"array of type {text!r}")
    return text


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("multiarray", "_reconstruct"): _Array,
    ("multiarray", "scalar"): _make_scalar,
    ("numeric", "_frombuffer"): _make_array,
    # Python 3 writes bytes into old pickles as a call of this, with text and "latin1".
    ("_codecs", "encode"): str.encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        # NumPy 2 renamed its folder `core`.
        known = re.sub(r"^numpy\._?core\.", "", module)
        if (known, name) not in _ALLOWED or module in ("multiarray", "numeric"):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[known, name]
