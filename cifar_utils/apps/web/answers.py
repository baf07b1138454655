"""Requests in, answers out: the same rows for the API's JSON and for the page's HTML."""

import base64
import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from cifar_utils.errors import CifarError, ImageError
from cifar_utils.inference.crops import choose_boxes, cut_out
from cifar_utils.inference.explain import compute_heat_map, draw_heat_map, place_heat_map
from cifar_utils.inference.images import MAX_BYTES, open_picture
from cifar_utils.text import suggest

MAX_REQUEST_BYTES = 30_000_000  # the largest photo and a few more, or twenty usual ones
MAX_FILES = 20
MAX_TOP, DEFAULT_TOP = 10, 3  # classes
SHOWN_SIDE = 512  # pixels; the photo and its heat map as an answer shows them
LONGEST_NAME = 200  # characters; what is longer loses its middle
RAW_TYPES = re.compile(r"image/[\w.+-]+|application/octet-stream")
# The form fields that may hold files, also as `file[]`, `file[0]` or `file1`: whichever of them a
# program's author would try first.
FILE_FIELDS = ("file", "image", "photo", "picture", "upload")
HOW_TO_SEND = "Send each photo as a file in the field 'file' (with curl: -F file=@photo.jpg)."
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


@dataclass(frozen=True)
class Options:
    """What an answer should hold in addition to the classes.

    Attributes:
        top: How many classes, from 1 to 10.
        heat_map: Whether to draw which regions drove the answer; takes about 50 times as long.
        picture: Whether to return the photo itself, upright and at most `SHOWN_SIDE` pixels.
    """

    top: int = DEFAULT_TOP
    heat_map: bool = False
    picture: bool = False


@dataclass(frozen=True, eq=False)
class Upload:
    """One photo of a request: what to call it, and what reads its bytes or raises `ImageError`."""

    name: str
    read: Callable[[], bytes]


def read_options(values) -> Options:
    """Read the options from a mapping of text; raises `RequestError` if one is not valid."""
    top = values.get("top", str(DEFAULT_TOP))
    if not (top.isascii() and top.isdecimal() and len(top) < 4 and 1 <= int(top) <= MAX_TOP):
        raise RequestError(
            f"'top' is {clean_name(top)!r}; expected: a whole number from 1 to {MAX_TOP}.", 400
        )
    return Options(int(top), _read_flag(values, "heat_map"), _read_flag(values, "picture"))


def _read_flag(values, name):
    """Read a yes or no."""
    value = values.get(name, "false")
    if value not in TRUE + FALSE:
        raise RequestError(f"{name!r} is {clean_name(value)!r}; expected: true or false.", 400)
    return value in TRUE


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
        uploads = _collect_files(request) + _collect_names(request, folder)
        if len(uploads) > MAX_FILES:
            raise RequestError(
                f"{len(uploads)} photos are too many: at most {MAX_FILES} at a time.", 422
            )
    elif RAW_TYPES.fullmatch(kind):
        first = request.stream.read(1)
        uploads = [Upload("picture", lambda: first + request.stream.read())] if first else []
    else:
        raise RequestError(
            f"The body is {clean_name(kind) or 'of no named type'}. Send multipart/form-data with a"
            " field 'file', or a photo itself as image/* or application/octet-stream.",
            415,
        )
    if not uploads:
        raise RequestError(_explain_nothing(request), 400)
    return uploads


def _collect_files(request):
    """Return the files of a multipart form."""
    uploads = []
    for field, file in request.files.items(multi=True):
        if not file.filename and not file.stream.read(1):
            continue  # what a browser sends where no file was chosen
        if _find_field(field) is None:
            name = clean_name(field)
            near = suggest(name, FILE_FIELDS)
            raise RequestError(
                f"A file came in the field {name!r}, which is not known. {near} {HOW_TO_SEND}", 400
            )
        name = clean_name(file.filename) or f"picture {len(uploads) + 1}"
        uploads.append(Upload(name, lambda file=file: _read_whole(file.stream)))
    return uploads


def _read_whole(stream):
    """Read a file from its start."""
    stream.seek(0)
    return stream.read()


def _collect_names(request, folder):
    """Return the photos of the folder that a form names."""
    uploads = []
    for field, text in request.form.items(multi=True):
        kind = _find_field(field)
        if kind == "image" and len(text) <= LONGEST_NAME * 2:
            name = clean_name(text) or "picture"
            uploads.append(Upload(name, lambda text=text: folder.read(text)[0]))
        elif kind and kind != "picture":  # 'picture' is an option, too
            raise RequestError(
                f"The field {clean_name(field)!r} holds text, not a file: a file needs a file name."
                f" {HOW_TO_SEND}",
                400,
            )
    return uploads


def _find_field(name):
    """Return which of `FILE_FIELDS` a form field is, or None: `files`, `images[]`, `file[0]`…"""
    plain = re.sub(r"(s|\d+)?(\[\d*\])?$", "", name.strip().lower(), count=1)
    return plain if plain in FILE_FIELDS else None


def _explain_nothing(request):
    """Say what a request without a photo brought instead."""
    fields = [repr(clean_name(field)) for field in [*request.form, *request.files]][:5]
    if fields and not request.form.keys() <= {"heat_map", "sample"}:
        return f"There is no photo in the request, only {', '.join(fields)}. {HOW_TO_SEND}"
    return "There is no photo in the request. Choose one, and try again."


def clean_name(name) -> str:
    """Return a file's name as text of one line: no folders, no control characters, not too long."""
    name = re.split(r"[/\\]", name or "")[-1]
    name = "".join(character for character in name if character.isprintable() or character == " ")
    name = name.encode("utf-8", "ignore").decode().strip()
    if len(name) > LONGEST_NAME:
        half = LONGEST_NAME // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name


def answer(classifier, upload, options):
    """Classify one photo.

    Args:
        classifier: An `inference.Classifier`.
        upload: An `Upload`.
        options: `Options`.

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
    """Refuse a file that is made to keep its decoder busy for hours: no program writes such.

    Raises:
        ImageError: If it is one.
    """
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0
    comments = data.count(b"#") if data.startswith((b"P1", b"P2", b"P3")) else 0
    if scans > MOST_SCANS or comments > MOST_COMMENTS:
        what = f"{scans} scans" if scans else f"{comments} comments"
        raise ImageError(f"It holds {what}. Open it in an image viewer and save it as PNG.")


def choose_status(statuses) -> int:
    """Return the HTTP status of several answers: 200 if one photo at least was read.

    Where none was: their common one (413 too large, 404 not in the folder), else 422.
    """
    if 200 in statuses:
        return 200
    return statuses[0] if len(set(statuses)) == 1 else 422


def to_data_url(image, kind) -> str:
    """Return an image as a `data:` URL, base64 of a PNG or JPEG file."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encode(image, kind)).decode()}"


def encode(image, kind) -> bytes:
    """Return an RGB image as the bytes of a PNG or JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return buffer.getvalue()
