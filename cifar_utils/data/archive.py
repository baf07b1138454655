"""Read the CIFAR-10 archive. Nothing is extracted, and nothing in it is run.

The archive (or its extracted folder) holds five training batches, a test batch and the class names,
each a Python 2 pickle. A pickle can name any function and have it called. The reader here knows
arrays, plain containers, numbers and text, and refuses the rest. The classes that a pickle may name
are the small ones below, never NumPy's own: a forged dtype could make NumPy take numbers for
addresses.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html; Krizhevsky, "Learning Multiple Layers of
Features from Tiny Images", 2009.
"""

import hashlib
import io
import pickle
import re
import tarfile
import zlib

import numpy as np

from cifar_utils.errors import DataError
from cifar_utils.paths import expand_home

ARCHIVE_NAME = "cifar-10-python.tar.gz"
ARCHIVE_BYTES = 170_498_071
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
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

_REPLACE = f"Put a fresh copy of {ARCHIVE_NAME} there, or name another one with CIFAR10_PATH."


def locate_archive(path):
    """Find the archive or the extracted folder at a path.

    Args:
        path: The archive, its extracted folder, or a folder that holds one of the two.

    Returns:
        The absolute path of the archive (a file) or of the extracted folder.

    Raises:
        DataError: If there is neither.
    """
    path = expand_home(path).absolute()
    try:
        for place in (path, path / ARCHIVE_NAME):
            if place.is_file():
                return place
        for folder in (path, path / FOLDER_NAME):
            if any((folder / name).is_file() for name in MEMBERS):
                return folder
        if not path.exists():
            raise DataError(f"{path} does not exist. {_REPLACE}")
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}). {_REPLACE}") from error
    raise DataError(
        f"{path} is not CIFAR-10: neither {ARCHIVE_NAME} nor the files of {FOLDER_NAME}"
        f" (data_batch_1, …) are in it. {_REPLACE}"
    )


def list_files(path):
    """Return the files that make up a located archive: itself, or the members of the folder."""
    if path.is_file():
        return [path]
    missing = [name for name in MEMBERS if not (path / name).is_file()]
    if missing:
        raise DataError(f"{path} is incomplete: {', '.join(missing)} missing. {_REPLACE}")
    return [path / name for name in MEMBERS]


def compute_fingerprint(path):
    """Compute what identifies the content of a located archive.

    Returns:
        "sha256:" and the hexadecimal SHA-256 of the archive. An extracted folder of the official
        files has that of the official archive; any other folder, that of its files in order.
    """
    digest, official = hashlib.sha256(), path.is_dir()
    for file in list_files(path):
        md5 = hashlib.md5(usedforsecurity=False)
        try:
            with open(file, "rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
                    md5.update(chunk)
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror}). {_REPLACE}") from error
        official = official and md5.hexdigest() == MEMBERS[file.name]
    return f"sha256:{ARCHIVE_SHA256 if official else digest.hexdigest()}"


def is_official(fingerprint):
    """Return whether a fingerprint is that of the archive which the authors publish."""
    return fingerprint == f"sha256:{ARCHIVE_SHA256}"


def read_archive(path):
    """Read and check all images and labels of a located archive.

    Args:
        path: The archive or the extracted folder, as `locate_archive` returns it.

    Returns:
        `(images, labels)`: uint8 (60000, 32, 32, 3) and uint8 (60000,), the training images first.

    Raises:
        DataError: If the file is damaged or cut short, a member is missing, a pickle holds anything
            but arrays and plain values, or shapes, types or label counts are not CIFAR-10's.
    """
    n = IMAGES_PER_BATCH
    images = np.empty((len(BATCHES) * n, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(len(images), np.uint8)
    missing = list(MEMBERS)
    for name, content in _read_members(path):
        where = f"{path}, member {name}"
        values = _unpickle(content, where)
        if name == META:
            _check_class_names(values, where)
        else:
            rows = slice(list(BATCHES).index(name) * n, (list(BATCHES).index(name) + 1) * n)
            images[rows], labels[rows] = _check_batch(values, where)
        missing.remove(name)
    if missing:
        raise DataError(f"{path} is incomplete: {', '.join(missing)} missing. {_REPLACE}")
    return images, labels


def _read_members(path):
    """Yield `(name, content)` of the members of a located archive, each once."""
    if path.is_dir():
        for file in list_files(path):
            _expect_size(file.stat().st_size, f"{path}, member {file.name}")
            yield file.name, file.read_bytes()
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
        # tarfile lists what every decompressor had to say, one line each.
        reason = str(error).partition("\n")[0].rstrip(":")
        raise DataError(
            f"{path} is no tar archive, damaged or cut short ({reason}). It has"
            f" {path.stat().st_size:,} bytes, the official archive {ARCHIVE_BYTES:,}. {_REPLACE}"
        ) from error


def _expect_size(size, where):
    _expect(size <= MAX_MEMBER_BYTES, where, f"{size:,} bytes", f"at most {MAX_MEMBER_BYTES:,}")


def _unpickle(content, where):
    """Return the dictionary in a pickle, its keys as text."""
    try:
        values = load_plain_pickle(content)
        return {k.decode() if isinstance(k, bytes) else k: v for k, v in values.items()}
    # A damaged or hostile pickle can raise nearly anything, MemoryError included.
    except Exception as error:
        raise DataError(
            f"{where}: refused, since it is not a plain pickle of arrays, numbers and text"
            f" ({str(error) or type(error).__name__}). {_REPLACE}"
        ) from error


def _check_class_names(values, where):
    names = _to_list(values.get("label_names"))
    names = [n.decode("latin1") if isinstance(n, bytes) else n for n in names or ()]
    _expect(tuple(names) == CLASS_NAMES, where, f"class names {_shorten(names)}", CLASS_NAMES)


def _check_batch(values, where):
    """Return the images (n, 32, 32, 3) and labels (n,) of one batch, if they are CIFAR-10's."""
    n, data, labels = IMAGES_PER_BATCH, values.get("data"), values.get("labels")
    found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
    _expect(found == f"uint8 ({n}, 3072)", where, f"images are {found}", f"uint8 ({n}, 3072)")
    listed = _to_list(labels)
    found = _shorten(labels) if listed is None else f"{len(listed)} values"
    _expect(found == f"{n} values", where, f"labels are {found}", f"{n} whole numbers")
    wrong = [x for x in listed if type(x) is not int or not 0 <= x < len(CLASS_NAMES)]
    _expect(not wrong, where, f"labels include {_shorten(wrong)}", "whole numbers from 0 to 9")
    # Stored as all red, all green, all blue values of an image.
    return data.reshape(n, 3, 32, 32).transpose(0, 2, 3, 1), listed


def _to_list(values):
    """Return a list, tuple or array, (n,) or (n, 1), as a list of plain values; else None."""
    if isinstance(values, np.ndarray) and values.shape in {(len(values),), (len(values), 1)}:
        return values.reshape(-1).tolist()
    return list(values) if isinstance(values, list | tuple) else None


def _shorten(value, most=60):
    """Show a value in a message, whatever its length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= most else text[:most] + " …"


def _expect(holds, where, found, expected):
    if not holds:
        raise DataError(f"{where}: {found}, expected {expected}. {_REPLACE}")


def load_plain_pickle(content):
    """Read a pickle of arrays and plain values without running anything that is in it.

    Args:
        content: The bytes of a pickle, written by Python 2 or 3. Text that Python 2 wrote becomes
            bytes.

    Returns:
        The value; in a dictionary, arrays are read-only NumPy arrays.

    Raises:
        pickle.UnpicklingError: If it contains anything else. Damaged bytes can raise nearly any
            other exception.
    """
    value = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    if isinstance(value, dict):
        return {k: v.value if isinstance(v, _Array) else v for k, v in value.items()}
    return value


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
