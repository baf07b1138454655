"""The page as a process: how it starts, what it holds, and what it cuts."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from pipeline_process import accept_ctrl_c

import cifar_utils
from cifar_utils.apps.cli import main
from cifar_utils.apps.web import limits
from cifar_utils.apps.web import server as server_module
from cifar_utils.apps.web.bounds import Gate, Room
from cifar_utils.apps.web.channels import CUT_AT, Body
from cifar_utils.apps.web.server import open_server
from cifar_utils.errors import CifarError
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.samples import list_samples

CAT = list_samples()["cat"].read_bytes()


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder, *arguments, **environment):
    """Run the command in a folder; gives `(process, port, seconds until it answered)`."""
    port = free_port()
    command = [sys.executable, "-m", "cifar_utils", "serve", "--port", str(port), *arguments]
    paths = os.pathsep.join(
        [str(Path(__file__).parent.parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=accept_ctrl_c,
    )
    try:
        while True:
            try:
                status, _ = ask(port, "GET", "/healthz")
                assert status == 200
                break
            except OSError:
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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The command, in a folder of its own, with no folder for temporary files to be written to."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, TMPDIR="/proc/nowhere") as (process, port, seconds):
        yield folder, process, port, seconds


def test_it_starts_within_a_second_or_so_makes_the_folder_and_stays_small(served):
    folder, process, port, seconds = served
    assert seconds < 5, "1 s on an idle machine: benchmarks/serve_load.py measures it"
    assert "Put pictures here" in (folder / "Images" / "README.txt").read_text()
    for query in ("", "?heat_map=1&picture=1&top=10"):
        for _ in range(5):
            status, body = ask(port, "POST", f"/api/predict{query}", CAT)
            assert status == 200
            assert json.loads(body)["pictures"][0]["label"] == "cat"
    assert psutil.Process(process.pid).memory_info().rss < 200e6


def test_a_large_upload_needs_no_disk(served):
    """The server's TMPDIR cannot be written to: neither waitress nor Werkzeug asks for it."""
    _, process, port, _ = served
    status, _ = ask(port, "POST", "/api/predict?heat_map=1", CAT + bytes(24_000_000))
    assert status == 200
    opened = {os.path.realpath(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert not [path for path in opened if "deleted" in path or "/tmp/tmp" in path]


def test_a_chunked_body_is_read_too(served):
    _, _, port, _ = served
    pieces = (CAT[start : start + 1000] for start in range(0, len(CAT), 1000))
    status, body = ask(port, "POST", "/api/predict", pieces)
    assert (status, json.loads(body)["pictures"][0]["label"]) == (200, "cat")


def test_an_endless_body_is_cut(served):
    _, process, port, _ = served
    before = psutil.Process(process.pid).memory_info().rss
    with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
        link.sendall(
            b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk, sent = b"100000\r\n" + bytes(1 << 20) + b"\r\n", 0
        with contextlib.suppress(OSError):
            while sent < 2 * CUT_AT and not _has_answer(link):
                link.sendall(chunk)
                sent += 1 << 20
        assert link.recv(100).startswith(b"HTTP/1.1 413 ")
    assert sent < 2 * CUT_AT
    time.sleep(0.5)
    assert psutil.Process(process.pid).memory_info().rss < before + 40e6


def _has_answer(link):
    """Return whether bytes are waiting."""
    link.setblocking(False)
    try:
        return bool(link.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        link.settimeout(30)


def test_a_body_above_the_limit_gets_its_answer_not_a_reset(served):
    """To close at once would reset the connection, and a browser would show its own error."""
    _, _, port, _ = served
    status, body = ask(port, "POST", "/api/predict", bytes(CUT_AT + 10_000_000), "image/png")
    assert status == 413
    assert b"At most 30 MB" in body


def test_many_large_uploads_at_once_wait_instead_of_filling_the_memory(served):
    _, process, port, _ = served
    watched, peak, done = psutil.Process(process.pid), 0, threading.Event()
    before = watched.memory_info().rss
    statuses = []

    def send():
        statuses.append(ask(port, "POST", "/api/predict", bytes(24_000_000), "image/png")[0])

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, watched.memory_info().rss)
        done.wait(0.01)
    assert statuses == [422] * 12
    assert peak < before + 2 * limits.MAX_WAITING_BYTES  # 288 MB were sent


def test_a_busy_port_is_one_sentence(served):
    _, _, port, _ = served
    result = CliRunner().invoke(main, ["serve", "--port", str(port)])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert f"Port {port} of 127.0.0.1 cannot be used: another program answers there" in line
    assert f"--port {port + 1}" in line


def test_an_address_of_another_machine_is_one_sentence():
    with pytest.raises(CifarError, match=r"192\.0\.2\.1 cannot be used: .* Take --host 127"):
        open_server(None, "192.0.2.1", 5678, 1)


def test_an_address_that_there_is_not_is_one_sentence():
    result = CliRunner().invoke(main, ["serve", "--host", "no such host", "--port", "5678"])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "Error: There is no address no such host. Take --host 127.0.0.1 for this machine alone, or"
        " 0.0.0.0 for all of its addresses."
    ]


@pytest.mark.parametrize("host", ["LOCALHOST", "[::1]", "::1"])
def test_this_machine_by_any_of_its_names_is_for_this_machine_alone(host, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(server_module.Server, "run", lambda self: ran.append(self) or self.close())
    told = []
    before = signal.getsignal(signal.SIGTERM)
    try:
        server_module.serve(Classifier.load, tmp_path, host, free_port(), 1, told.append)
    except CifarError as error:
        assert ":" in host  # a machine without IPv6
        pytest.skip(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "[[" not in told[0]
    assert not any("Whoever reaches this machine" in line for line in told)
    client = ran[0].application.test_client()
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403


def test_it_tells_the_address_and_ends_quietly(tmp_path):
    with serving(tmp_path, "--images", "pictures", "--threads", "1") as (process, port, _):
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = told.splitlines()
    assert lines[0] == f"Open http://localhost:{port} (Ctrl-C ends it)."
    assert lines[1] == f"Pictures to choose from: {tmp_path / 'pictures'}"
    assert lines[-1] == "Stopped."
    assert len(lines) == 4
    assert (tmp_path / "pictures" / "README.txt").exists()


def test_without_flask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flask", None)
    # The package holds its subpackage too; without this, tests that follow would patch another one.
    monkeypatch.setattr(cifar_utils, "web", cifar_utils.apps.web)
    for name in [name for name in sys.modules if name.startswith("cifar_utils.apps.web")]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 1
    assert "pip install 'cifar-notebooks[web]'" in result.output


def test_it_imports_no_tensorflow():
    code = (
        "import sys; from cifar_utils.apps.web import app, server; from cifar_utils.inference.classifier import *;"
        "app.create_app(Classifier.load()).test_client().get('/');"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture
def impatient():
    """A server that gives a request one second."""

    def application(environ, start_response):
        environ["wsgi.input"].read()
        body = bytes(40_000_000 if environ["PATH_INFO"] == "/large" else 2)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    port = free_port()
    server = open_server(application, "127.0.0.1", port, 2, request_seconds=1)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server, port
    server.stop()
    thread.join(10)
    server.close()


@pytest.mark.parametrize(
    "beginning",
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-",
    ],
)
def test_one_byte_now_and_then_does_not_hold_a_connection(impatient, beginning):
    _, port = impatient
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(beginning)
        end = time.monotonic() + 8
        with contextlib.suppress(OSError):
            while time.monotonic() < end and not _has_answer(link):
                link.sendall(b"1" if b"chunked" not in beginning else b"1\r\nx\r\n")
                time.sleep(0.2)
        assert link.recv(100).startswith((b"HTTP/1.1 408 ", b"HTTP/1.0 408 "))
    assert time.monotonic() < end
    assert ask(port, "POST", "/", b"whole")[0] == 200


def test_an_answer_that_nobody_reads_does_not_hold_a_connection(impatient):
    server, port = impatient
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.5)
        assert len(server.active_channels) == 1
        end = time.monotonic() + 8
        while server.active_channels and time.monotonic() < end:
            time.sleep(0.1)
        assert not server.active_channels
    assert len(ask(port, "GET", "/large")[1]) == 40_000_000


def test_what_waitress_refuses_is_worded_for_people_and_programs(served):
    _, _, port, _ = served
    for path, kind in (("/api/predict", "application/json"), ("/predict", "text/html")):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
            link.sendall(head.encode())
            told = link.makefile("rb").read().decode()
        assert told.startswith("HTTP/1.1 413 ")
        assert f"Content-Type: {kind}" in told
        assert "Content-Security-Policy: default-src 'none'" in told
        assert "At most 30 MB at a time" in told
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"NONSENSE\r\n\r\n")
        assert b" 400 " in link.recv(1000)


def test_room_is_given_back_however_a_request_ends(impatient):
    server, port = impatient
    for ending in ("answered", "left", "cut"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            time.sleep(0.1)
            if ending == "answered":
                link.sendall(b"cde")
            if ending != "left":
                assert link.recv(20)
    time.sleep(0.3)
    assert server.room.take(limits.MAX_WAITING_BYTES)


def test_a_body_is_freed_as_it_is_read():
    body = Body()
    pieces = [bytes([number]) * 100_000 for number in range(50)]
    for piece in pieces:
        body.append(piece)
    assert len(body) == 5_000_000
    assert body.read(150_000) == pieces[0] + pieces[1][:50_000]
    assert len(body) == 4_850_000
    assert body.read() == b"".join(pieces)[150_000:]
    assert body.read() == b""


def test_room_is_limited():
    room = Room(10)
    assert room.take(6)
    assert not room.take(5)
    room.give(6)
    assert room.take(10)


def test_a_gate_lets_through_what_fits_together_and_the_too_large_alone():
    gate, inside, order = Gate(10), threading.Semaphore(0), []

    def enter(size):
        with gate.hold(size):
            order.append(size)
            inside.release()

    with gate.hold(6):
        threads = [threading.Thread(target=enter, args=[size]) for size in (4, 99)]
        for thread in threads:
            thread.start()
        assert inside.acquire(timeout=5)
        assert not inside.acquire(timeout=0.1)
        assert order == [4]
    assert inside.acquire(timeout=5)
    for thread in threads:
        thread.join(5)
    assert order == [4, 99]
