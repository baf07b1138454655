"""What a request brings: pictures as bytes in memory, never on disk."""

import contextlib
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from flask import Request

from cifar_utils.apps.web.limits import MAX_FILES
from cifar_utils.errors import CifarError

RAW_TYPES = re.compile(r"image/[\w.+-]+|application/octet-stream")
MULTIPART = "multipart/form-data"
LONGEST_NAME = 200  # characters; what is longer loses its middle


class RequestError(CifarError):
    """A request that cannot be answered as a whole, and the HTTP status that says so."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


class MemoryRequest(Request):
    """A request whose uploaded files stay in memory: Werkzeug would write larger ones to disk."""

    def _get_file_stream(
        self, total_content_length, content_type, filename=None, content_length=None
    ):
        return io.BytesIO()


@dataclass(frozen=True, eq=False)
class Upload:
    """One picture of a request.

    Attributes:
        name: What to call it.
        open: Returns a context manager that gives its bytes, or raises `ImageError`.
    """

    name: str
    open: Callable


def collect_uploads(request, folder) -> list[Upload]:
    """Return the pictures that a request brings or names.

    Args:
        request: A `MemoryRequest`: multipart with fields `file` (uploads) and `image` (names in
            the folder), each repeatable, or a picture as the body.
        folder: The `ImagesFolder`.

    Raises:
        RequestError: If there is none, there are too many, or the body is of another kind.
    """
    kind = request.mimetype
    if RAW_TYPES.fullmatch(kind):
        data = _read_body(request.stream)
        uploads = [keep("picture", data)] if data else []
    elif kind == MULTIPART:
        uploads = _collect_form(request, folder)
    else:
        raise RequestError(
            f"The body is {kind or 'of no named type'}. Send multipart/form-data with a field "
            "'file', or a picture itself as image/* or application/octet-stream.",
            415,
        )
    if not uploads:
        raise RequestError("There is no picture in the request. Choose one, and try again.", 400)
    return uploads


def _read_body(stream):
    """Read all of a stream, whose parts are freed meanwhile: Werkzeug would copy the whole."""
    buffer = io.BytesIO()
    shutil.copyfileobj(stream, buffer, 1 << 18)
    return buffer.getvalue()


def _collect_form(request, folder):
    """Return the pictures of a multipart form."""
    # A browser sends an empty part where no file was chosen.
    files = [file for file in request.files.getlist("file") if file.filename or file.stream.read(1)]
    names = request.form.getlist("image")
    if len(files) + len(names) > MAX_FILES:
        raise RequestError(
            f"{len(files) + len(names)} pictures are too many: at most {MAX_FILES} at a time.", 422
        )
    uploads = []
    for number, file in enumerate(files, start=1):
        name = clean_name(file.filename) or f"picture {number}"
        uploads.append(keep(name, file.stream.getvalue()))
    return uploads + [_find_stored(folder, name) for name in names]


def keep(name, data) -> Upload:
    """Return an upload of bytes that are in memory already."""
    return Upload(name, lambda: contextlib.nullcontext(data))


def _find_stored(folder, name):
    """Return a picture of the folder, which is read only once it is its turn."""

    @contextlib.contextmanager
    def read():
        with folder.open(name) as stored:
            yield stored.data

    return Upload(clean_name(name) or "picture", read)


def clean_name(name) -> str:
    """Return a file's name as text of one line: no folders, no control characters, not too long."""
    name = re.split(r"[/\\]", name or "")[-1]
    name = "".join(character for character in name if character.isprintable() or character == " ")
    name = name.encode("utf-8", "ignore").decode().strip()
    if len(name) > LONGEST_NAME:
        half = LONGEST_NAME // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name
