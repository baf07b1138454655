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
import threading
import time
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
ROOT = FILE.parent.parent
CLIENTS, SECONDS, THREADS = 50, 60, (1, 2, 4)
STARTS = 5
LARGE_UPLOADS, LARGE_BYTES = 12, 24_000_000
HOSTILE_UPLOADS = 1000


@contextlib.contextmanager
def serving(threads=4):
    """Serve from an empty folder; gives `(psutil.Process, port, seconds to the first reply)`."""
    import psutil

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cifar_utils", "serve", "--port", str(port)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
        )
        try:
            while request(port, "GET", "/") != 200:
                time.sleep(0.005)
            yield psutil.Process(process.pid), port, time.perf_counter() - start
        finally:
            process.terminate()
            process.wait()


def request(port, method, path, body=None, kind="image/png"):
    """Send one request; returns its status, or None if nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if body else {})
        response = connection.getresponse()
        response.read()
        return response.status
    except ConnectionError:
        return None
    finally:
        connection.close()


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
            seconds.append(taken)
            memory.append(process.memory_info().rss)
    return {
        "n": STARTS,
        "median_seconds": round(statistics.median(seconds), 2),
        "longest_seconds": round(max(seconds), 2),
        "memory_mb": round(max(memory) / 1e6),
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
    statuses = []

    def send(port):
        statuses.append(request(port, "POST", "/api/predict", bytes(LARGE_BYTES)))

    with serving() as (process, port, _):
        threads = [threading.Thread(target=send, args=[port]) for _ in range(LARGE_UPLOADS)]
        for thread in threads:
            thread.start()
        peak = watch_memory(process, lambda: any(thread.is_alive() for thread in threads))
    answered = statuses.count(422)  # zeros are no image
    found = {"n": LARGE_UPLOADS, "bytes": LARGE_BYTES, "answered": answered}
    return found | {"memory_peak_mb": peak}


def run_clients(port):
    """Ask from fifty threads; print latencies and errors as JSON."""
    from cifar_utils.inference.samples import list_samples

    bodies = [path.read_bytes() for path in list_samples().values()]
    latencies, errors = [], []
    end = time.monotonic() + SECONDS

    def ask(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            number += 1
            start = time.perf_counter()
            try:
                body = bodies[number % len(bodies)]
                connection.request("POST", "/api/predict", body, {"Content-Type": "image/jpeg"})
                response = connection.getresponse()
                reply = json.loads(response.read())
                if response.status != 200 or "label" not in reply["pictures"][0]:
                    raise ValueError(f"status {response.status}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                errors.append(repr(error))
                connection.close()
            else:
                latencies.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(latencies, n=100)
    row = {
        "requests": len(latencies) + len(errors),
        "errors": len(errors),
        "first_errors": errors[:3],
        "p50_ms": round(cuts[49] * 1e3),
        "p99_ms": round(cuts[98] * 1e3),
        "longest_ms": round(max(latencies) * 1e3),
        "per_second": round(len(latencies) / SECONDS, 1),
    }
    print(json.dumps(row))


def main(words):
    """Measure, print, write."""
    if words[:1] == ["clients"]:
        run_clients(int(words[1]))
        return
    from cifar_utils.paths import write_json
    from cifar_utils.runs.machine import detect_processor

    processor, busy = detect_processor(), ", not idle" if words == ["--shared"] else ""
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
    main(sys.argv[1:])
