"""Serves the page with waitress: bounded in memory and in time, and quiet."""

import errno
import logging
import signal
import socket
import sys
import threading
import time

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.utilities import Error, RequestEntityTooLarge

from cifar_utils.errors import CifarError
from cifar_utils.web.limits import (
    IDLE_SECONDS,
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    MAX_WAITING_BYTES,
    REQUEST_SECONDS,
)

DEFAULT_HOST, DEFAULT_PORT, DEFAULT_THREADS = "127.0.0.1", 5678, 4
# A little more than the application takes, so that a picture just above the limit gets its page.
CUT_AT = MAX_REQUEST_BYTES + 2_000_000
NO_FILE = 1 << 40  # bytes above which waitress would write to a temporary file: never


class RequestTimeout(Error):
    """The answer to a request that does not come to its end."""

    code = 408
    reason = "Request Timeout"


class Parser(HTTPRequestParser):
    """Says in our words that a body is too large."""

    def received(self, data):
        """Take a part of the request; returns how many bytes were taken."""
        taken = super().received(data)
        if isinstance(self.error, RequestEntityTooLarge):
            most = MAX_REQUEST_BYTES / 1e6
            self.error.body = f"At most {most:.0f} MB at a time: send fewer or smaller pictures."
        return taken


class Room:
    """How many bytes of request bodies there is room for."""

    def __init__(self, size):
        self._free, self._lock = size, threading.Lock()

    def take(self, size) -> bool:
        """Take some, if they are free."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give(self, size):
        """Give some back."""
        with self._lock:
            self._free += size


class Channel(HTTPChannel):
    """A connection that waits for room before it reads a body, and is cut if that never ends.

    waitress itself only cuts connections on which nothing happens, and holds any number of bodies:
    one byte a second would keep a connection for ever, and fifty large uploads a gigabyte.
    """

    parser_class = Parser
    begun = None  # when the request that is being received began
    taken = 0  # bytes of room
    refused = False  # whether the last answer was one of waitress's own errors
    lingering = False

    def received(self, data):
        """Take what came in."""
        if self.request is None and self.begun is None:
            self.begun = time.time()
        result = super().received(data)
        if self.request is None:
            self.begun = None
        return result

    def readable(self):
        """Return whether to read on."""
        return self.lingering or (super().readable() and self._has_room())

    def _has_room(self):
        """Take room for a body once its size is known; False as long as there is none."""
        request = self.request
        if self.taken or request is None or not request.headers_finished:
            return True
        # Without a length (chunked) it may become as long as is allowed.
        size = CUT_AT if request.chunked else request.content_length
        if not self.server.room.take(size):
            self.last_activity = time.time()  # it is we who do nothing
            return False
        self.taken = size
        return True

    def service(self):
        """Answer a request; its body is gone afterwards."""
        self.refused = self.requests[0].error is not None
        super().service()
        self._give_room()

    def _give_room(self):
        with self.requests_lock:
            taken, self.taken = self.taken, 0
        self.server.room.give(taken)

    def cut_if_endless(self, now):
        """Refuse a request that takes too long to come in; called now and then."""
        if self.lingering or self.begun is None or now < self.begun + self.server.request_seconds:
            return
        with self.requests_lock:
            request, self.request, self.begun = self.request, None, None
            if request is None or self.requests or self.will_close:
                return
            request.error = RequestTimeout(
                f"The request did not end within {self.server.request_seconds:g} s."
            )
            request.completed = True
            self.requests.append(request)
            self.server.add_task(self)

    def handle_read(self):
        """Read; what comes after a refusal is thrown away."""
        if not self.lingering:
            super().handle_read()
        elif not self._discard() and self.connected:
            self.handle_close()

    def _discard(self):
        """Read and forget; returns whether there may be more."""
        try:
            return bool(self.recv(1 << 16))
        except OSError:
            return False

    def handle_close(self):
        """Close. After a refusal in the midst of a body, only once the client has seen it.

        To close while bytes are coming in resets the connection, and a browser then shows its own
        error instead of the answer.
        """
        if self.refused and not self.lingering and self.connected:
            self.lingering, self.will_close = True, False  # for IDLE_SECONDS at most
            try:
                self.socket.shutdown(socket.SHUT_WR)
                return
            except OSError:
                pass
        self._close()

    def _close(self):
        super().handle_close()
        if not self.requests:
            self._give_room()


class Server(TcpWSGIServer):
    """waitress's server with our channels.

    Attributes:
        request_seconds: How long a request may take to come in.
        room: The `Room` that all bodies share.
    """

    channel_class = Channel

    def __init__(self, application, request_seconds=REQUEST_SECONDS, **options):
        self.request_seconds, self.room = request_seconds, Room(MAX_WAITING_BYTES)
        super().__init__(
            application,
            max_request_body_size=CUT_AT,
            inbuf_overflow=NO_FILE,
            outbuf_overflow=NO_FILE,
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


def open_server(application, host, port, threads, **options) -> Server:
    """Bind a server to an address; `run` lets it answer.

    Raises:
        CifarError: If the address is taken, not allowed or none of this machine's.
    """
    try:
        return Server(application, host=host, port=port, threads=threads, **options)
    except OSError as error:
        reason = error.strerror or error
        if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", None)):
            reason = "another program answers there already"
        raise CifarError(
            f"Port {port} of {host} cannot be used: {reason}. Take another with --port, such as"
            f" --port {port + 1 if 1024 <= port < 65535 else 8080}."
        ) from None


def serve(load, images_dir, host=DEFAULT_HOST, port=DEFAULT_PORT, threads=DEFAULT_THREADS, say=print):
    """Serve the page until Ctrl-C.

    Args:
        load: Returns the `inference.Classifier`; called once the address is ours.
        images_dir: The folder whose pictures can be chosen; made, with a note, if it is not there.
        host, port: Where to listen.
        threads: How many requests are answered at a time.
        say: Called with what people should read.

    Raises:
        CifarError: If the address cannot be used.
    """
    from cifar_utils.web.app import create_app
    from cifar_utils.web.security import find_allowed_hosts

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no fault
    server = open_server(None, host, port, threads)
    classifier = load()
    allowed_hosts = find_allowed_hosts(host)
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
