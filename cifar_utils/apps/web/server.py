"""Serves the page with waitress, as it comes with its own limits."""

import contextlib
import ctypes
import logging
import signal
import socket
import sys

from waitress.server import create_server

from cifar_utils.errors import CifarError

# Above the limit of the application, which therefore words the refusal of what is a little too
# large: waitress refuses before it reads the body, and a browser that is still sending then shows
# an error of its own. In bytes; more than half a megabyte goes to an unnamed temporary file.
MAX_BODY_BYTES = 100_000_000
MAX_CONNECTIONS = 100
IDLE_SECONDS = 60  # until a connection on which nothing happens is closed
MMAP_THRESHOLD, LARGE = -3, 1 << 20  # of glibc's <malloc.h>; bytes
HOST_HINT = "Use --host 127.0.0.1 for this machine alone, or 0.0.0.0 for all of its addresses."


def open_server(application, host, port, threads):
    """Bind a waitress server to an address; its `run` answers until Ctrl-C.

    Args:
        application: The WSGI application.
        host, port: Where to listen: an address or a name.
        threads: How many requests are answered at a time; others wait.

    Raises:
        CifarError: If the address is taken, not allowed or none of this machine's.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError):
        raise CifarError(f"There is no address {host}. {HOST_HINT}") from None
    try:
        return create_server(
            application,
            host=address,
            port=port,
            threads=threads,
            max_request_body_size=MAX_BODY_BYTES,
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            ident=None,
        )
    except OSError as error:
        other = port + 1 if 1024 <= port < 65535 else 8080
        raise CifarError(
            f"Port {port} of {host} cannot be used: {error.strerror or error}. Take another port,"
            f" such as --port {other}, or another address. {HOST_HINT}"
        ) from None


def serve(load, images_dir, host, port, threads, say=print):
    """Serve the page until Ctrl-C.

    Args:
        load: Returns the `inference.Classifier`; called once the address is ours.
        images_dir: The folder whose photos can be chosen; made, with a note, if it is not there.
        host, port, threads: See `open_server`.
        say: Called with what people should read.
    """
    from cifar_utils.apps.web.app import create_app
    from cifar_utils.apps.web.security import find_allowed_hosts

    # glibc otherwise learns from the first photo to keep up to 32 MB in each thread: twelve uploads
    # of 24 MB at once took 340 MB instead of 155. Other C libraries have no such call.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no fault
    host = host.strip("[]").lower()  # an IPv6 address as an address bar has it
    # Before the model is loaded, so that a port that is taken is told at once.
    server = open_server(lambda *request: application(*request), host, port, threads)
    classifier = load()
    allowed_hosts = find_allowed_hosts(host, server.effective_host)
    application = create_app(classifier, images_dir, allowed_hosts)
    folder = application.extensions["folder"]
    folder.make()
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host
    say(f"Open http://{f'[{shown}]' if ':' in shown else shown}:{port} (Ctrl-C ends it).")
    say(f"Photos to choose from: {folder.path}")
    say(f"{classifier.source} {classifier.engine}.")
    if allowed_hosts is None:
        say("Everyone who reaches this machine can send photos and see those in that folder.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run()
    say("Stopped.")
