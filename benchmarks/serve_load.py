"""How does the page hold up: start, memory, fifty clients at once, hostile uploads?

    python benchmarks/serve_load.py             # about four minutes; on an idle machine
    python benchmarks/serve_load.py --shared    # says in the file that the machine was busy

Everything goes through `python -m cifar_utils serve`, a process of its own. *Start* is the time
from there to its first answer, a whole page. Then, with 1, 2 and 4 threads, fifty clients in
another process post the two sample pictures in turn (JPEG, 320 pixels wide) as fast as they are
answered, on kept connections, for a minute; they share the machine's cores with the server. *Large
uploads* are twelve bodies of 24 MB at once, *hostile* is `tests/hostile_uploads.py`. Writes
`benchmarks/serve_load.json`.
"""

import argparse
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


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(threads=4):
    """Serve from an empty folder; gives `(psutil.Process, port, seconds to the first answer)`."""
    import psutil

    port = free_port()
    command = [sys.executable, "-m", "cifar_utils", "serve", "--port", str(port)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
        )
        try:
            while not answers(port):
                time.sleep(0.005)
            yield psutil.Process(process.pid), port, time.perf_counter() - start
        finally:
            process.terminate()
            process.wait()


def answers(port):
    """Return whether the page is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().endswith(b"</html>")
    except ConnectionError:
        return False
    finally:
        connection.close()


def measure_start():
    """Start several times; return seconds to the first answer, and the memory then."""
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


def measure_load(threads, seconds):
    """Let the clients ask; return the row."""
    with serving(threads) as (process, port, _):
        command = [sys.executable, __file__, "--clients", str(port), "--seconds", str(seconds)]
        clients = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = watch_memory(process, lambda: clients.poll() is None)
        row = json.loads(clients.stdout.read())
        after = process.memory_info().rss
    row = {"threads": threads} | row
    return row | {"memory_peak_mb": round(peak / 1e6), "memory_after_mb": round(after / 1e6)}


def watch_memory(process, goes_on):
    """Return the largest resident memory of a process, in bytes, while something goes on."""
    peak = 0
    while goes_on():
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    return peak


def measure_large_uploads():
    """Send large bodies at once; return what became of them, and of the memory."""
    statuses = []

    def send(port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        kind = {"Content-Type": "image/png"}
        connection.request("POST", "/api/predict", bytes(LARGE_BYTES), kind)
        statuses.append(connection.getresponse().status)
        connection.close()

    with serving() as (process, port, _):
        threads = [threading.Thread(target=send, args=[port]) for _ in range(LARGE_UPLOADS)]
        for thread in threads:
            thread.start()
        peak = watch_memory(process, lambda: any(thread.is_alive() for thread in threads))
    refused = statuses.count(422)  # zeros are no picture
    return {
        "n": LARGE_UPLOADS,
        "bytes": LARGE_BYTES,
        "answered": refused,
        "memory_peak_mb": round(peak / 1e6),
    }


def run_clients(port, seconds):
    """Ask from fifty threads; print latencies and errors as JSON."""
    from cifar_utils.inference.samples import list_samples

    bodies = [path.read_bytes() for path in list_samples().values()]
    latencies, errors = [], []
    end = time.monotonic() + seconds

    def ask(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            number += 1
            start = time.perf_counter()
            try:
                body = bodies[number % len(bodies)]
                connection.request("POST", "/api/predict", body, {"Content-Type": "image/jpeg"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status != 200 or "label" not in answer["pictures"][0]:
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
        "per_second": round(len(latencies) / seconds, 1),
    }
    print(json.dumps(row))


def measure_hostile():
    """Return what became of the hostile uploads."""
    script = ROOT / "tests" / "hostile_uploads.py"
    command = [sys.executable, str(script), str(HOSTILE_UPLOADS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of load")
    parser.add_argument("--shared", action="store_true", help="say that the machine is busy")
    options = parser.parse_args()
    if options.clients:
        run_clients(options.clients, options.seconds)
        return
    from cifar_utils.paths import write_json
    from cifar_utils.runs.machine import detect_processor

    processor = detect_processor()
    shared = ", with other work beside it" if options.shared else ""
    report = {
        "machine": f"{processor.name}, {processor.cores} cores{shared}",
        "start": measure_start(),
    }
    print(report)
    report |= {"clients": CLIENTS, "seconds": options.seconds, "rows": []}
    for threads in THREADS:
        report["rows"].append(measure_load(threads, options.seconds))
        print(report["rows"][-1])
    report |= {"large_uploads": measure_large_uploads(), "hostile": measure_hostile()}
    print(report["large_uploads"], report["hostile"])
    print("wrote", write_json(FILE, report).name)


if __name__ == "__main__":
    main()
