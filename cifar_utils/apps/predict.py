"""What `python -m cifar_utils predict` does: many images in; lines, JSON or CSV out."""

import csv
import io
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.inference.images import MAX_BYTES
from cifar_utils.paths import atomic_path, expand_home

# The formats that `inference.images` reads. A file that is named itself is tried whatever its name.
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .avif .heic .heif .gif .bmp .tif .tiff .ppm .pgm .pbm".split()
)
# Of archives made on macOS, of Synology's servers (thumbnails), and of what Windows has deleted.
SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin")
HEAT_SUFFIX = ".heat.png"
STANDARD_INPUT = "-"
# A spreadsheet computes a cell that begins like this; the wide forms are on Japanese keyboards.
# Excel takes semicolons for separators in many countries, so that a cell may begin after one, too.
FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n])) *(?=[=+\-@\t\r\n＝＋－＠])")
BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for the system's old code page


def is_picture_name(name, suffixes=PICTURE_SUFFIXES) -> bool:
    """Return whether a file of a folder is a photo to list, by its name without the folder."""
    return not is_hidden_name(name) and Path(name).suffix.lower() in suffixes


def is_hidden_name(name) -> bool:
    """Return whether a file or folder is one that its system or an editor keeps out of sight.

    Names that begin with a dot are, such as the `._x.jpg` that macOS writes beside each `x.jpg` on
    other file systems (AppleDouble: metadata, no pixels).
    """
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def list_images(paths):
    """List the images that paths name, as `(name, source)`: files, and all below folders, sorted.

    A path that does not exist and a folder that cannot be opened are listed too: reading them says
    what is wrong. Second comes a sentence on what the folders held besides, or "". A folder without
    an image is a ParameterError.
    """
    found, left_out = [], Counter()

    def describe_left_out():
        told = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in left_out.items() if n)
        return f"Left out of the folders: {told}." if told else ""

    for path in map(str, paths):
        if path == STANDARD_INPUT or _is_stream(path):
            found.append((path, _read_stream(path)))
        elif not os.path.isdir(expand_home(path)):
            found.append((path, path))  # as it was typed: a `Path` makes `https:/` of `https://`
        else:
            inside = sorted(_walk_folder(expand_home(path), left_out))
            if not inside:
                raise ParameterError(
                    f"The folder {path} holds no image, going by the names: "
                    f"{', '.join(sorted(PICTURE_SUFFIXES))}. Give the files themselves."
                    f" {describe_left_out()}".rstrip()
                )
            found += [(str(image), image) for image in inside]
    return found, describe_left_out()


def _walk_folder(folder, left_out):
    """Yield the images of a folder and of all below it, and folders that cannot be opened.

    Everything else is counted in `left_out`, by kind.
    """
    # Links are followed after all folders that are really there, so that an image has its own path
    # and not that of a link; a folder that was visited ends every loop.
    waiting, visited = [folder], set()
    while waiting:
        locked = []
        walk = os.walk(waiting.pop(0), onerror=lambda error, to=locked: to.append(error.filename))
        for parent, folders, names in walk:
            status = os.stat(parent)
            if (status.st_dev, status.st_ino) in visited:
                left_out["repeated link"] += 1
                folders.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            hidden = [name for name in folders if is_hidden_name(name)]
            left_out["hidden folder"] += len(hidden)
            folders[:] = [name for name in folders if name not in hidden]
            waiting += [path for name in folders if os.path.islink(path := Path(parent, name))]
            for name in names:
                if kind := _other_kind(Path(parent, name)):
                    left_out[kind] += 1
                else:
                    yield Path(parent, name)
        yield from map(Path, locked)


def _other_kind(path):
    """Return what a file of a folder is if it is no image to classify, else nothing."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return "other file"
    if is_hidden_name(path.name):
        return "hidden file"
    if path.name.endswith(HEAT_SUFFIX):
        return "heat map"
    # A pipe would block the command; a link that leads nowhere is listed, and reading it says so.
    return "pipe" if _is_stream(path) else ""


def _is_stream(path):
    """Return whether a path is a pipe or a device, such as /dev/stdin or the shell's <(command)."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _read_stream(path):
    """Return the bytes of a stream, which can be read only once, also for a heat map."""
    if path != STANDARD_INPUT:
        with open(path, "rb") as stream:
            return stream.read(MAX_BYTES + 1)  # the one too many has the image refused as too large
    if sys.stdin is None or sys.stdin.isatty():
        raise ParameterError("'-' reads an image from standard input: pipe one into the command.")
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def load_test_images(numbers, data=None):
    """Return `(name, image)` pairs of test images of a `data.Dataset`, or of the one at hand."""
    if not numbers:
        return []
    if data is None:
        from cifar_utils.data import load_dataset

        data = load_dataset()
    count = len(data.test_images)
    for number in numbers:
        if not 0 <= number < count:
            raise ParameterError(f"There is no test image {number}: they are 0 to {count - 1}.")
    kind = "synthetic test image" if data.name == "synthetic" else "test image"
    return [
        (f"{kind} {n} ({data.class_names[data.test_labels[n]]})", data.test_images[n])
        for n in numbers
    ]


def classify(classifier, images, top=3, heat_maps=None):
    """Classify `(name, source)` pairs, dozens at a time; a bad one leaves the others alone.

    Yields `(row, problem)` in order: the row as `Prediction.to_dict` makes it, or with an `error`
    where the image cannot be read; and what went wrong, or "". Heat maps go into that folder.
    """
    outcomes = classifier.predict_many((source for _, source in images), errors="return")
    for (name, source), outcome in zip(images, outcomes, strict=True):
        if isinstance(outcome, CifarError):
            yield {"picture": name, "error": str(outcome)}, str(outcome)
            continue
        row, problem = outcome.to_dict(name, top), ""
        if heat_maps:
            try:
                row["heat_map"] = str(_save_heat_map(classifier, source, name, Path(heat_maps)))
            except ParameterError as error:
                problem = str(error)
        yield row, problem


def show_name(text):
    """Return text for a terminal: one line, without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def render_line(row):
    """Return one line for a person."""
    classes = ", ".join(f"{part['class']} {part['probability']:.1%}" for part in row["classes"])
    note = f" [{row['note']}]" if row.get("note") else ""
    return show_name(f"{row['picture']}: {'unsure: ' if row['unsure'] else ''}{classes}{note}")


def render_json(rows, classifier):
    """Return all rows as one JSON document, with the model that made them."""
    document = {
        "model": str(classifier.source),
        "engine": classifier.engine,
        "views": classifier.views,
        "calibrated": classifier.calibration is not None,
        "pictures": rows,
    }
    return json.dumps(document, indent=2)  # ASCII: a file's name need not be valid Unicode


def render_csv(rows, top, spreadsheet=False):
    """Return rows of `Prediction.to_dict` as CSV with columns for `top` classes.

    Names stay as they are, for programs. For a spreadsheet a byte order mark comes first, and a
    cell that would be computed begins with an apostrophe, which means "this is text".
    """
    # With every text in quotes, no separator or line break in a name begins another cell, also
    # where a program takes semicolons for separators.
    buffer, end = io.StringIO(), "\r\n" if spreadsheet else "\n"
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator=end)
    ranked = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("class", "probability")]
    writer.writerow(["picture", "unsure", *ranked, "error", "note"])
    for row in rows:
        cells = _list_cells(row, top)
        if spreadsheet:
            cells = [FORMULA.sub(r"'\g<0>", c) if isinstance(c, str) else c for c in cells]
        writer.writerow(cells)
    return BYTE_ORDER_MARK + buffer.getvalue() if spreadsheet else buffer.getvalue().rstrip("\n")


def _list_cells(row, top):
    """Return the cells of a row; a name that is not valid Unicode is written with escapes."""
    pairs = [value for part in row.get("classes", ()) for value in part.values()]
    pairs += [""] * (2 * top - len(pairs))
    unsure = "" if row.get("unsure") is None else str(row["unsure"]).lower()
    name, error, note = (
        text.encode("utf-8", "backslashreplace").decode()
        for text in (row["picture"], row.get("error", ""), row.get("note") or "")
    )
    return [name, unsure, *pairs, error, note]


def _save_heat_map(classifier, source, name, folder):
    """Write the heat map over an image as `NAME.heat.png`, never over another file."""
    from cifar_utils.inference.explain import compute_heat_map, draw_heat_map

    stem = Path(name).stem[:100]
    names = (f"{stem}{'' if count == 1 else f'-{count}'}{HEAT_SUFFIX}" for count in range(1, 10**6))
    drawn = draw_heat_map(source, compute_heat_map(classifier, source))
    try:
        path = next(path for path in (folder / name for name in names) if not path.exists())
        with atomic_path(path) as temporary:
            drawn.save(temporary)
    except OSError as error:
        raise ParameterError(
            f"Its heat map cannot be written into {folder} ({error.strerror or error}). Take"
            " another folder."
        ) from error
    return path
