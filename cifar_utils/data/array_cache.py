"""Keep what was read from an archive as one array file, so that the next read takes no time.

The cache holds `arrays/cifar10-<sha256>.npy` (the pixels of all images, then the labels, as one
row of bytes) and `seen/*.json` (the size, date and fingerprint of each archive that was read, so
that an unchanged file is not hashed again).
"""

import contextlib
import errno
import hashlib
import json

import numpy as np

from cifar_utils.data import archive
from cifar_utils.errors import DataError
from cifar_utils.paths import atomic_path, cache_dir, check_free_space, write_json

_HEADER_BYTES = 4096


def arrays_path(fingerprint):
    """Return where the arrays of a fingerprint are kept, whether they are there or not."""
    return cache_dir() / "arrays" / f"cifar10-{fingerprint.removeprefix('sha256:')}.npy"


def fingerprint_of(path):
    """Return the fingerprint of a located archive, hashing it only if it changed since last time.

    Raises:
        DataError: If the file cannot be read or the folder is incomplete.
    """
    stats = [(file.name, file.stat()) for file in archive.list_files(path)]
    state = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    name = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    note = cache_dir() / "seen" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if (known["path"], known["state"]) == (str(path), state):
            return known["fingerprint"]
    fingerprint = archive.compute_fingerprint(path)
    # Only a shortcut: a cache that cannot be written costs a fraction of a second next time.
    with contextlib.suppress(OSError):
        write_json(note, {"path": str(path), "state": state, "fingerprint": fingerprint})
    return fingerprint


def load_cached(fingerprint):
    """Load the arrays of a fingerprint from the cache.

    Returns:
        `(images, labels)` as uint8 (n, 32, 32, 3) and uint8 (n,), or None if they are not there or
        not whole.
    """
    n = len(archive.BATCHES) * archive.IMAGES_PER_BATCH
    pixels = n * int(np.prod(archive.IMAGE_SHAPE))
    try:
        row = np.load(arrays_path(fingerprint))
    except (OSError, ValueError, EOFError):
        return None
    if row.dtype != np.uint8 or row.shape != (pixels + n,):
        return None
    return row[:pixels].reshape(n, *archive.IMAGE_SHAPE), row[pixels:]


def load_arrays(path):
    """Load a located archive, from the cache where it is known, and into the cache where not.

    Args:
        path: The archive or the extracted folder, as `archive.locate_archive` returns it.

    Returns:
        `(images, labels, fingerprint)`, see `load_cached`.

    Raises:
        DataError: If the archive is damaged, or the cache cannot be written.
        CifarError: If the disk has no room for the cache.
    """
    fingerprint = fingerprint_of(path)
    arrays = load_cached(fingerprint)
    if arrays is None:
        n = len(archive.BATCHES) * archive.IMAGES_PER_BATCH
        needed = n * (int(np.prod(archive.IMAGE_SHAPE)) + 1) + _HEADER_BYTES
        check_free_space(cache_dir(), needed, "the array cache of CIFAR-10")
        arrays = archive.read_archive(path)
        _save(arrays_path(fingerprint), *arrays)
    return *arrays, fingerprint


def _save(target, images, labels):
    try:
        with atomic_path(target) as temporary:
            np.save(temporary, np.concatenate([images.reshape(-1), labels]))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return  # the arrays are in memory: without a cache the next start takes 3 s longer
        raise DataError(
            f"Could not write {target} ({error}). Is the disk full? Free some space, or move the"
            " cache with CIFAR_CACHE_DIR."
        ) from error
