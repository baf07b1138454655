"""How does the page hold up: start, memory, fifty clients at once, large and hostile uploads?

    python benchmarks/serve_load.py             # about four minutes; on an idle machine
    python benchmarks/serve_load.py --shared    # records that the machine was busy

Everything goes through `python -m cifar_utils serve`, a process of its own. *Start* is the time
from there to its first reply, a whole page. Then, with 1, 2 and 4 threads, fifty clients in another
process post the two sample photos in turn (JPEG, 320 pixels wide) as fast as they get replies, on
kept connections, for a minute; they share the machine's cores with the server. *Large uploads* are
twelve bodies of 24 MB at once, *hostile* is `tests/hostile_uploads.py`. Writes
`benchmarks/serve_load.json`.
"""

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import write_json
from cifar_utils.runs.machine import detect_processor

FILE = Path(__file__).with_suffix(".json")
ROOT = FILE.parent.parent
CLIENTS, SECONDS, THREADS = 50, 60, (1, 2, 4)
STARTS = 5
LARGE_UPLOADS, LARGE_BYTES = 12, 24_000_000
HOSTILE_UPLOADS = 1000
IMAGE = {"Content-Type": "image/jpeg"}


@contextlib.contextmanager
def serving(threads=4):
    """Serve from an empty folder; gives `(psutil.Process, port, seconds to the first reply)`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["-m", "cifar_utils", "serve", "--port", str(port), "--threads", str(threads)]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=env, stdout=subprocess.DEVNULL
        )
        try:
            while post(port) != 200:
                time.sleep(0.005)
            yield psutil.Process(process.pid), port, time.perf_counter() - start
        finally:
            process.terminate()
            process.wait()


def post(port, body=None):
    """Post a photo, or get the page; returns the status, or None if nobody listens yet."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as link:
        try:
            link.request(*(("POST", "/api/predict") if body else ("GET", "/")), body, IMAGE)
            response = link.getresponse()
            response.read()
            return response.status
        except ConnectionError:
            return None


def watch_memory(process, goes_on):
    """Return the largest resident memory of a process, in MB, while something goes on."""
    peak = 0
    while goes_on():
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    return round(peak / 1e6)


def measure_start():
    """Start several times; returns seconds to the first reply, and the memory then."""
    seconds, memory = [], []
    for _ in range(STARTS):
        with serving() as (process, _, taken):
            seconds.append(round(taken, 2))
            memory.append(round(process.memory_info().rss / 1e6))
    return {
        "n": STARTS,
        "median_seconds": statistics.median(seconds),
        "longest_seconds": max(seconds),
        "memory_mb": max(memory),
    }


def measure_load(threads):
    """Let the clients ask; returns the row."""
    with serving(threads) as (process, port, _):
        command = [sys.executable, __file__, "clients", str(port)]
        clients = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = watch_memory(process, lambda: clients.poll() is None)
        row = {"threads": threads} | json.loads(clients.stdout.read())
        after = round(process.memory_info().rss / 1e6)
    return row | {"memory_peak_mb": peak, "memory_after_mb": after}


def measure_large_uploads():
    """Send large bodies at once; returns what became of them, and of the memory."""
    with serving() as (process, port, _), ThreadPoolExecutor(LARGE_UPLOADS) as pool:
        sent = [pool.submit(post, port, bytes(LARGE_BYTES)) for _ in range(LARGE_UPLOADS)]
        peak = watch_memory(process, lambda: not all(one.done() for one in sent))
    answered = [one.result() for one in sent].count(422)  # zeros are no image
    found = {"n": LARGE_UPLOADS, "bytes": LARGE_BYTES, "answered": answered}
    return found | {"memory_peak_mb": peak}


def run_clients(port):
    """Ask from fifty threads; returns latencies and errors."""
    bodies = [path.read_bytes() for path in list_samples().values()]
    latencies, errors, end = [], [], time.monotonic() + SECONDS

    def ask(number):
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            number += 1
            start = time.perf_counter()
            try:
                link.request("POST", "/api/predict", bodies[number % len(bodies)], IMAGE)
                json.loads(link.getresponse().read())["pictures"][0]["label"]
                latencies.append(time.perf_counter() - start)
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                errors.append(repr(error))
                link.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, range(CLIENTS)))
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "requests": len(latencies) + len(errors),
        "errors": len(errors),
        "first_errors": errors[:3],
        "p50_ms": round(cuts[49] * 1e3),
        "p99_ms": round(cuts[98] * 1e3),
        "longest_ms": round(max(latencies) * 1e3),
        "per_second": round(len(latencies) / SECONDS, 1),
    }


def main(*words):
    """Measure, print, write."""
    if words[:1] == ("clients",):
        print(json.dumps(run_clients(int(words[1]))))
        return
    processor, busy = detect_processor(), ", not idle" if words == ("--shared",) else ""
    hostile = [sys.executable, str(ROOT / "tests" / "hostile_uploads.py"), str(HOSTILE_UPLOADS)]
    done = subprocess.run(hostile, capture_output=True, text=True, check=True)
    report = {
        "machine": f"{processor.name}, {processor.cores} cores{busy}",
        "start": measure_start(),
        "clients": CLIENTS,
        "seconds": SECONDS,
        "rows": [measure_load(threads) for threads in THREADS],
        "large_uploads": measure_large_uploads(),
        "hostile": json.loads(done.stdout),
    }
    print(json.dumps(report, indent=2))
    print("wrote", write_json(FILE, report).name)


if __name__ == "__main__":
    main(*sys.argv[1:])
