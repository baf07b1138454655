"""Serves the page with waitress: bounded in memory and in time, and quiet."""

import contextlib
import ctypes
import errno
import logging
import signal
import sys

from waitress.server import TcpWSGIServer

from cifar_utils.apps.web.bounds import Room
from cifar_utils.apps.web.channels import CUT_AT, Channel
from cifar_utils.apps.web.limits import (
    IDLE_SECONDS,
    MAX_CONNECTIONS,
    MAX_WAITING_BYTES,
    REQUEST_SECONDS,
)
from cifar_utils.errors import CifarError

NO_FILE = 1 << 40  # bytes above which waitress would write to a temporary file: never
HOST_HINT = "Take --host 127.0.0.1 for this machine alone, or 0.0.0.0 for all of its addresses."
MMAP_THRESHOLD, LARGE = -3, 1 << 20  # of <malloc.h>; bytes


class Server(TcpWSGIServer):
    """waitress's server with our channels.

    Attributes:
        request_seconds: How long a request may take to come in.
        room: The `Room` that all bodies share.
    """

    channel_class = Channel
    _stopping = False

    def __init__(self, application, request_seconds=REQUEST_SECONDS, **options):
        self.request_seconds, self.room = request_seconds, Room(MAX_WAITING_BYTES)
        super().__init__(
            application,
            max_request_body_size=CUT_AT,
            inbuf_overflow=NO_FILE,
            outbuf_overflow=NO_FILE,
            recv_bytes=1 << 16,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
            connection_limit=MAX_CONNECTIONS,
            ident=None,
            clear_untrusted_proxy_headers=False,  # nothing here looks at them
            **options,
        )

    def maintenance(self, now):
        """Close connections that are idle, and cut requests that do not end."""
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.cut_if_endless(now)

    def stop(self):
        """End `run`; may be called from any thread."""
        self._stopping = True
        self.pull_trigger()

    def readable(self):
        """Return whether to accept; called in each turn of the loop, so that it can end here."""
        if self._stopping:
            raise SystemExit
        return super().readable()


def open_server(application, host, port, threads, **options) -> Server:
    """Bind a server to an address; `run` lets it answer.

    Raises:
        CifarError: If the address is taken, not allowed or none of this machine's.
    """
    try:
        return Server(application, host=host, port=port, threads=threads, **options)
    except ValueError:  # waitress's word for a name that nobody knows
        raise CifarError(f"There is no address {host}. {HOST_HINT}") from None
    except OSError as error:
        reason = error.strerror or error
        taken = error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", None))
        if not taken and error.errno not in (errno.EACCES, errno.EPERM):
            raise CifarError(f"{host} cannot be used: {reason}. {HOST_HINT}") from None
        if taken:
            reason = "another program answers there already"
        raise CifarError(
            f"Port {port} of {host} cannot be used: {reason}. Take another with --port, such as"
            f" --port {port + 1 if 1024 <= port < 65535 else 8080}."
        ) from None


def return_large_memory():
    """Let the C library give large buffers back to the system when they are freed.

    glibc otherwise learns from the first picture to keep up to 32 MB of them, scattered. Other
    systems have no such call, and no such habit.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE)


def serve(load, images_dir, host, port, threads, say=print):
    """Serve the page until Ctrl-C.

    Args:
        load: Returns the `inference.Classifier`; called once the address is ours.
        images_dir: The folder whose pictures can be chosen; made, with a note, if it is not there.
        host, port: Where to listen.
        threads: How many requests are answered at a time; others wait.
        say: Called with what people should read.

    Raises:
        CifarError: If the address cannot be used.
    """
    from cifar_utils.apps.web.app import create_app
    from cifar_utils.apps.web.security import find_allowed_hosts

    return_large_memory()
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no fault
    host = host.strip("[]").lower()  # an IPv6 address as an address bar has it
    server = open_server(None, host, port, threads)
    classifier = load()
    allowed_hosts = find_allowed_hosts(host, server.socket.getsockname()[0])
    server.application = create_app(classifier, images_dir, allowed_hosts)
    folder = server.application.extensions["site"].folder
    folder.make()
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host
    say(f"Open http://{f'[{shown}]' if ':' in shown else shown}:{port} (Ctrl-C ends it).")
    say(f"Pictures to choose from: {folder.path}")
    say(f"{classifier.source} {classifier.engine}.")
    if allowed_hosts is None:
        say("Whoever reaches this machine can send pictures and see those in that folder.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run()
    say("Stopped.")
