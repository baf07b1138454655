"""A web server for the download tests: it serves one archive well, badly, or not at all."""

import contextlib
import http.server
import threading
import time


@contextlib.contextmanager
def serve(content):
    """Serve `content` on this machine; yields the address, under which `Handler` has the paths."""
    Handler.content = content
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one archive under paths that say how."""

    content = b""

    def do_GET(self):
        getattr(self, "send_" + self.path.strip("/").replace("/", "_"))()

    def begin(self, length, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_good(self):
        self.begin(len(self.content))
        self.wfile.write(self.content)

    def send_redirect(self):
        self.send_response(302)
        self.send_header("Location", "/good")
        self.end_headers()

    def send_wrong(self):
        self.begin(len(self.content))
        self.wfile.write(bytes(len(self.content)))

    def send_cut(self):
        self.begin(len(self.content))
        self.wfile.write(self.content[: len(self.content) // 2])

    def send_endless(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(1 << 16))

    def send_slowing(self):
        """Begin fast, then send 80 kB a second."""
        self.begin(len(self.content))
        self.wfile.write(self.content[:70_000])
        for start in range(70_000, len(self.content), 8_000):
            time.sleep(0.1)
            self.wfile.write(self.content[start : start + 8_000])

    def send_silent(self):
        time.sleep(30)

    def send_missing(self):
        self.begin(0, status=404)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing when a client hangs up; that is what is being tested."""
