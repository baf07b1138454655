"""The page as a process: how it starts, what it refuses, what it needs, how it ends."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from cifar_utils.apps.cli import main
from cifar_utils.apps.web.security import find_allowed_hosts
from cifar_utils.apps.web.server import open_server
from cifar_utils.errors import CifarError
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import project_root

CAT = list_samples()["cat"].read_bytes()


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder, *arguments):
    """Run the command in a folder; gives `(process, port, seconds until it answered)`."""
    port = free_port()
    paths = [str(project_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cifar_utils", "serve", "--port", str(port), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell lets its background jobs ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                assert ask(port, "GET", "/healthz")[0] == 200
                break
            assert process.poll() is None, process.stdout.read()
            assert time.perf_counter() - start < 60
            time.sleep(0.01)
        yield process, port, time.perf_counter() - start
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(port, method, path, body=None, kind="image/jpeg"):
    """Send one request; returns status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The command, in a folder of its own."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder) as (process, port, seconds):
        yield folder, process, port, seconds


def test_it_starts_within_a_second_or_so_makes_the_folder_and_stays_small(served):
    folder, process, port, seconds = served
    assert seconds < 5, "1 s on an idle machine: benchmarks/serve_load.py measures it"
    assert "Put photos here" in (folder / "Images" / "README.txt").read_text()
    for query in ("", "?heat_map=1&picture=1&top=10"):
        for _ in range(3):
            status, body = ask(port, "POST", f"/api/predict{query}", CAT)
            assert status == 200
            assert json.loads(body)["pictures"][0]["label"] == "cat"
    assert psutil.Process(process.pid).memory_info().rss < 250e6


def test_a_body_above_the_limit_gets_its_answer_not_a_reset(served):
    """To refuse it while it is sent would reset the connection: a browser shows its own error."""
    _, _, port, _ = served
    pieces = (bytes(10_000_000) for _ in range(4))  # sent in chunks, without a length
    for sent in (bytes(40_000_000), pieces):
        status, body = ask(port, "POST", "/api/predict", sent, "image/png")
        assert (status, b"at most 30 MB" in body) == (413, True)


def test_a_body_of_any_length_is_refused_before_it_is_read(served):
    _, _, port, _ = served
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
        link.sendall(head.encode())
        assert link.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"NONSENSE\r\n\r\n")
        assert b" 400 " in link.recv(1000)


def test_many_large_uploads_at_once_wait_on_disk_instead_of_filling_the_memory(served):
    _, process, port, _ = served
    watched, peak = psutil.Process(process.pid), 0
    before, zeros = watched.memory_info().rss, bytes(24_000_000)
    with ThreadPoolExecutor(12) as pool:
        sent = [pool.submit(ask, port, "POST", "/api/predict", zeros) for _ in range(12)]
        while not all(one.done() for one in sent):
            peak = max(peak, watched.memory_info().rss)
            time.sleep(0.01)
    assert [one.result()[0] for one in sent] == [422] * 12
    assert peak < before + 150e6  # 288 MB were sent
    links = Path(f"/proc/{process.pid}/fd")
    end = time.monotonic() + 5  # until the temporary files, which have no name, are closed
    while any("(deleted)" in os.path.realpath(link) for link in links.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_busy_port_is_one_sentence(served):
    _, _, port, _ = served
    result = CliRunner().invoke(main, ["serve", "--port", str(port)])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert f"Port {port} of 127.0.0.1" in line
    assert f"--port {port + 1}" in line


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_this_machines_is_one_sentence(host):
    with pytest.raises(CifarError, match=rf"{host}.* --host 127\.0\.0\.1"):
        open_server(lambda *_: [], host, 5678, 1)


def test_others_names_are_accepted_only_where_others_can_reach_it():
    for host, bound in (("localhost", "127.0.0.1"), ("::1", "::1"), ("my-name", "127.0.1.1")):
        assert host in find_allowed_hosts(host, bound)
        assert "evil.example" not in find_allowed_hosts(host, bound)
    assert find_allowed_hosts("0.0.0.0", "0.0.0.0") is None


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_it_tells_the_address_and_ends_quietly(tmp_path, way):
    with serving(tmp_path, "--images", "photos", "--threads", "1") as (process, port, _):
        process.send_signal(way)
        told, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"http://localhost:{port}" in told
    assert str(tmp_path / "photos") in told
    assert told.count("\n") == 4  # no traceback


def test_without_flask_it_says_what_to_install():
    code = (
        "import sys; sys.modules['flask'] = None;"
        "from cifar_utils.apps.cli import main; main(['serve'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'cifar-notebooks[web]'" in done.stderr


def test_a_thousand_hostile_uploads_get_an_answer_or_a_reason():
    script = Path(__file__).parent.parent / "hostile_uploads.py"
    command = [sys.executable, script, "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["without_answer_or_reason"] == []
    assert sum(report["statuses"].values()) == 1000
    assert all(status < "500" for status in report["statuses"])
    assert report["memory_growth"] < 0.1
    assert report["memory_peak_mb"] < 400
