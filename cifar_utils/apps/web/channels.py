"""Connections with bounds: on a request's memory, on the memory of all, and on time."""

import contextlib
import html
import io
import json
import socket
import time
from collections import deque

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from cifar_utils.apps.web.limits import MAX_REQUEST_BYTES
from cifar_utils.apps.web.security import HEADERS

# A little more than the application takes, so that a picture just above the limit gets its page.
CUT_AT = MAX_REQUEST_BYTES + 1_000_000
BLOCK = 1 << 20  # bytes; freed as soon as they are read
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{0}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/page.css"></head>
<body><main><section class="card plain"><h1>{0}</h1>
<p><a class="button" href="/">Back to the page</a></p></section></main></body></html>
"""


class Refusal(Error):
    """What waitress itself refuses, in our words and with our headers."""

    def __init__(self, code, reason, text, path):
        super().__init__(text)
        self.code, self.reason, self.path = code, reason, path

    def to_response(self, ident=None):
        """Return status, headers and body: JSON for programs, a small page for people."""
        if self.path.startswith("/api/"):
            kind, body = "application/json", json.dumps({"error": self.body})
        else:
            kind, body = "text/html; charset=utf-8", PAGE.format(html.escape(self.body))
        headers = [*HEADERS.items(), ("Content-Type", kind), ("Cache-Control", "no-store")]
        return f"{self.code} {self.reason}", headers, body.encode()


class Body(io.RawIOBase):
    """The body of a request in memory: grows at its end, and shrinks as it is read.

    waitress would write a large one to disk, and keep all of it while it is copied. This is both
    its buffer and the WSGI input.
    """

    def __init__(self):
        self._blocks, self._length = deque(), 0

    def __len__(self):
        return self._length

    def append(self, data):
        """Add bytes at the end."""
        if not self._blocks or len(self._blocks[-1]) >= BLOCK:
            self._blocks.append(bytearray())
        self._blocks[-1] += data
        self._length += len(data)

    def getfile(self):
        """Return what reads it."""
        return self

    def readable(self):
        """Say that it can be read."""
        return True

    def readinto(self, buffer):
        """Move its beginning into a buffer; returns how many bytes, 0 at the end."""
        if not self._blocks:
            return 0
        block = self._blocks[0]
        count = min(len(buffer), len(block))
        buffer[:count] = block[:count]
        del block[:count]  # of a bytearray: moves a pointer, not the rest
        if not block:
            self._blocks.popleft()
        self._length -= count
        return count

    def close(self):
        """Forget what was not read."""
        self._blocks.clear()
        super().close()


class Parser(HTTPRequestParser):
    """Keeps the body in a `Body`, and refuses in our words."""

    path = ""  # until the header has been read

    def parse_header(self, header_plus):
        """Read the header; after it, waitress has made a buffer for the body."""
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            self.body_rcv.buf = Body()

    def received(self, data):
        """Take a part of the request; returns how many bytes were taken."""
        taken = super().received(data)
        if self.error is not None and not isinstance(self.error, Refusal):
            code, text = self.error.code, "The request is not well-formed."
            if code == 413:
                most = MAX_REQUEST_BYTES / 1e6
                text = f"At most {most:.0f} MB at a time: send fewer or smaller pictures."
            self.refuse(code, self.error.reason, text)
        return taken

    def refuse(self, code, reason, text):
        """End the request with an error."""
        self.error, self.completed = Refusal(code, reason, text, self.path), True


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
    sending_since = None  # when bytes began to wait for the client to read them

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
        """Refuse a request that takes too long to come in, and leave who does not read the answer.

        Called every second.
        """
        if not self.total_outbufs_len:
            self.sending_since = None
        elif self.sending_since is None:
            self.sending_since = now
        elif now > self.sending_since + self.server.request_seconds:
            self._hang_up()
            return
        if self.lingering or self.begun is None or now < self.begun + self.server.request_seconds:
            return
        with self.requests_lock:
            request, self.request, self.begun = self.request, None, None
            if request is None or self.requests or self.will_close:
                return
            text = f"The request did not end within {self.server.request_seconds:g} s."
            request.refuse(408, "Request Timeout", text)
            self.requests.append(request)
            self.server.add_task(self)

    def _hang_up(self):
        """Make the socket fail, so that the loop closes it; here, it would trip over that."""
        self.will_close = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

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
