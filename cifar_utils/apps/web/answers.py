"""Requests in, answers out: the same rows for the JSON and for the page."""

import base64
import io
import re
import threading
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from cifar_utils.errors import CifarError, ImageError
from cifar_utils.inference.crops import choose_boxes, cut_out
from cifar_utils.inference.explain import compute_heat_map, draw_heat_map, place_heat_map
from cifar_utils.inference.images import MAX_BYTES, open_picture
from cifar_utils.inference.samples import list_samples

MAX_REQUEST_BYTES = 30_000_000  # the largest photo and a few more, or twenty usual ones
MAX_FILES = 20
MAX_TOP, DEFAULT_TOP = 10, 3  # classes
SHOWN_SIDE = 512  # pixels; the photo and its heat map as an answer shows them
LONGEST_NAME = 200  # characters; what is longer loses its middle
RAW_TYPES = re.compile(r"image/[\w.+-]+|application/octet-stream")
# The form fields that may hold files: whichever of them a program's author would try first.
FILE_FIELD = re.compile(r"(file|image|photo|picture|upload)(s|\d+)?(\[\d*\])?", re.IGNORECASE)
HOW_TO_SEND = "Send each photo as a file in the field 'file' (with curl: -F file=@photo.jpg)."
PAGE_FIELDS = ("heat_map", "sample")  # what the page sends besides photos
TRUE, FALSE = ("1", "true"), ("0", "false")
MOST_SCANS = 400  # of a JPEG; progressive ones have about ten, each takes up to 0.1 s to decode
MOST_COMMENTS = 1000  # of a plain PPM; the time to skip them grows with their square

# An image of 64 megapixels takes half a gigabyte while it is decoded, so only one is at a time;
# until then uploads stay in the temporary files that waitress and Werkzeug put large ones into.
decoding = threading.Semaphore(1)


class RequestError(CifarError):
    """A request that cannot be answered as a whole, and the HTTP status that says so."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


class Options(NamedTuple):
    """What an answer should hold in addition to the classes."""

    top: int  # how many classes, from 1 to 10
    heat_map: bool  # which regions drove the answer; takes about 50 times as long
    picture: bool  # the photo itself, upright and at most `SHOWN_SIDE` pixels


class Upload(NamedTuple):
    """One photo of a request: what to call it, and what reads its bytes or raises `ImageError`."""

    name: str
    read: Callable[[], bytes]


def read_options(values) -> Options:
    """Read the options from a mapping of text; raises `RequestError` if one is not valid."""
    allowed = {"top": [str(number + 1) for number in range(MAX_TOP)]}
    allowed |= dict.fromkeys(("heat_map", "picture"), TRUE + FALSE)
    for name, expected in allowed.items():
        text = values.get(name, expected[-1])
        if text not in expected:
            told = f"{name!r} is {clean_name(text)!r}; expected: {', '.join(expected)}."
            raise RequestError(told, 400)
    top = int(values.get("top", DEFAULT_TOP))
    return Options(top, values.get("heat_map") in TRUE, values.get("picture") in TRUE)


def collect_uploads(request, folder) -> list[Upload]:
    """Return the photos that a request brings or names.

    Args:
        request: A Flask request: multipart with files, or with names of photos in the folder as
            text in the field `image`; each repeatable. Or a photo as the body.
        folder: The `ImagesFolder`.

    Raises:
        RequestError: If there is none, there are too many, or the body is of another kind.
    """
    kind = request.mimetype
    if kind == "multipart/form-data":
        uploads = list(_read_form(request, folder))
    elif RAW_TYPES.fullmatch(kind):
        first = request.stream.read(1)
        uploads = [Upload("picture", lambda: first + request.stream.read())] if first else []
    else:
        raise RequestError(
            f"The body is {clean_name(kind) or 'of no named type'}. Send multipart/form-data with a"
            " field 'file', or a photo itself as image/* or application/octet-stream.",
            415,
        )
    if len(uploads) > MAX_FILES:
        count = len(uploads)
        raise RequestError(f"{count} photos are too many: at most {MAX_FILES} at a time.", 422)
    if not uploads:
        fields = ", ".join(
            repr(clean_name(name)) for name in [*request.form][:5] if name not in PAGE_FIELDS
        )
        told = f": it holds {fields}. {HOW_TO_SEND}" if fields else ". Choose one, and try again."
        raise RequestError(f"There is no photo in the request{told}", 400)
    return uploads


def _read_form(request, folder):
    """Yield the files of a multipart form, then the photos of folder and package it names."""
    for number, (field, file) in enumerate(request.files.items(multi=True), start=1):
        if not file.filename and not file.stream.read(1):
            continue  # what a browser sends where no file was chosen
        if not FILE_FIELD.fullmatch(field):
            raise _refuse_field(field, "a file")
        name = clean_name(file.filename) or f"picture {number}"
        yield Upload(name, lambda stream=file.stream: stream.seek(0) or stream.read())
    for field, text in request.form.items(multi=True):
        known = FILE_FIELD.fullmatch(field)
        kind = known and known[1].lower()
        if field == "sample" and text in list_samples():
            yield Upload(f"{text}.jpg", list_samples()[text].read_bytes)
        elif kind == "image" and len(text) <= LONGEST_NAME * 2:
            name = clean_name(text) or "picture"
            yield Upload(name, lambda text=text: folder.read(text)[0])
        elif kind and kind != "picture":  # 'picture' is an option, too
            raise _refuse_field(field, "text")


def _refuse_field(field, what):
    """Return the error for a form field that holds what it should not."""
    name = clean_name(field)
    return RequestError(f"The field {name!r} holds {what}. {HOW_TO_SEND}", 400)


def clean_name(name) -> str:
    """Return a file's name as text of one line: no folders, no control characters, not too long."""
    name = re.split(r"[/\\]", name or "")[-1]
    name = "".join(filter(str.isprintable, name))
    name = name.encode("utf-8", "ignore").decode().strip()
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 2]}…{name[-LONGEST_NAME // 2 :]}"
    return name


def answer(classifier, upload, options):
    """Classify one photo.

    Returns:
        `(row, status)`: a JSON-ready dict as `openapi.json` describes it, either `Answer` or
        `Failure`; and the HTTP status that belongs to it alone.
    """
    size = 0
    try:
        with decoding:
            data = upload.read()
            size = len(data)
            check_effort(data)
            image = open_picture(data)
            width, height = image.size
            boxes = choose_boxes(width, height)
            crops = cut_out(image, boxes)
            # In place: only this little is kept of a large photo.
            image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    except ImageError as error:
        status = getattr(error, "status", 413 if size > MAX_BYTES else 422)
        text = re.sub("^The (picture|image|photo) ", "It ", str(error))
        return {"name": upload.name, "error": text}, status
    (prediction,) = classifier.predict_prepared([(crops, boxes)])
    row = prediction.to_dict(upload.name, options.top)
    row = {"name": row.pop("picture")} | row
    row["calibrated"] = prediction.calibrated
    row["size"] = [width, height]
    row["box"] = list(prediction.box)
    row["view"] = to_data_url(Image.fromarray(prediction.view), "PNG")
    if note := image.info.get("note"):  # such as: wholly transparent, shown as if it were not
        row["note"] = note
    if options.picture:
        row["picture"] = to_data_url(image, "JPEG")
    if options.heat_map:
        # Computed on what the network saw and laid where that is in the small image: the map of
        # the whole photo, without floats for all of its pixels.
        heat = compute_heat_map(classifier, prediction.view, prediction.label)
        scale = image.width / width, image.height / height
        heat = place_heat_map(heat, prediction.box, scale, image.size)
        row["heat_map"] = to_data_url(draw_heat_map(image, heat, SHOWN_SIDE), "JPEG")
    return row, 200


def check_effort(data):
    """Refuse, with an `ImageError`, a file that is made to keep its decoder busy for hours."""
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0
    comments = data.count(b"#") if data.startswith((b"P1", b"P2", b"P3")) else 0
    if scans > MOST_SCANS or comments > MOST_COMMENTS:
        what = f"{scans} scans" if scans else f"{comments} comments"
        raise ImageError(f"It holds {what}. Open it in an image viewer and save it as PNG.")


def to_data_url(image, kind) -> str:
    """Return an image as a `data:` URL, base64 of a PNG or JPEG file."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encode(image, kind)).decode()}"


def encode(image, kind) -> bytes:
    """Return an RGB image as the bytes of a PNG or JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=85)  # of a JPEG; PNG has none
    return buffer.getvalue()
