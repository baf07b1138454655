"""What `python -m cifar_utils predict` does: many pictures in, lines, JSON or CSV out."""

import csv
import io
import json
import os
from pathlib import Path

from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.inference.classifier import READ_AHEAD
from cifar_utils.paths import expand_home

# What a folder is searched for. A file that is named itself is tried whatever its name.
HEAT_SUFFIX = ".heat.png"
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .avif .heic .heif .gif .bmp .tif .tiff .ppm .pgm .pbm".split()
)


def list_pictures(paths) -> list[Path]:
    """List the pictures that paths name, those of folders sorted and with their subfolders.

    Args:
        paths: Files and folders.

    Returns:
        Files. What does not exist is in the list too, and so is a folder that may not be looked
        into: reading it says so. Heat maps of an earlier call are left out.

    Raises:
        ParameterError: If a folder holds no picture.
    """
    found = []
    for path in map(expand_home, paths):
        if not os.path.isdir(path):
            found.append(path)
            continue
        inside = sorted(_walk(path))
        if not inside:
            raise ParameterError(
                f"The folder {path} holds no picture, going by the names: "
                f"{', '.join(sorted(PICTURE_SUFFIXES))}. Give the files themselves."
            )
        found += inside
    return found


def _walk(folder):
    """Yield the pictures below a folder, and the folders that cannot be listed."""
    locked = []
    for parent, _, names in os.walk(folder, onerror=lambda error: locked.append(error.filename)):
        for name in names:
            is_picture = Path(name).suffix.lower() in PICTURE_SUFFIXES
            if is_picture and not name.endswith(HEAT_SUFFIX):
                yield Path(parent, name)
    yield from map(Path, locked)


def load_test_images(numbers):
    """Return `(name, image)` pairs of test images by their numbers.

    Raises:
        ParameterError: If there is no test image of that number.
    """
    if not numbers:
        return []
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


def classify(classifier, named):
    """Classify named pictures, dozens at a time; a bad one leaves the others alone.

    Args:
        classifier: An `inference.Classifier`.
        named: List of `(name, picture)`.

    Yields:
        `(name, picture, outcome)` in order; the outcome is a `Prediction`, or the error that says
        why there is none.
    """
    waiting, count = [], 0
    for name, picture in named:
        try:
            prepared = classifier.prepare(picture)
            count += len(prepared[1])
        except CifarError as error:
            prepared = error
            count += 1  # it has its line soon, even where nothing can be read
        waiting.append((name, picture, prepared))
        if count >= READ_AHEAD:
            yield from _answer(classifier, waiting)
            waiting, count = [], 0
    yield from _answer(classifier, waiting)


def _answer(classifier, waiting):
    """Let the network answer for what was read; hand on the errors of what was not."""
    prepared = [item for _, _, item in waiting if not isinstance(item, CifarError)]
    predictions = iter(classifier.predict_prepared(prepared))
    for name, picture, item in waiting:
        yield name, picture, item if isinstance(item, CifarError) else next(predictions)


def show_name(text):
    """Return text for a terminal: one line, without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def render_line(row):
    """Return one line for a person."""
    classes = ", ".join(f"{part['class']} {part['probability']:.1%}" for part in row["classes"])
    return f"{show_name(row['picture'])}: {'unsure: ' if row['unsure'] else ''}{classes}"


def render_json(rows, classifier):
    """Return all rows as one JSON document, with what answered."""
    document = {
        "model": str(classifier.source),
        "engine": classifier.engine,
        "views": classifier.views,
        "calibrated": classifier.calibration is not None,
        "pictures": rows,
    }
    return json.dumps(document, indent=2)  # ASCII: a file's name may be no Unicode


def render_csv(rows, top):
    """Return all rows as CSV with a header; of a picture that failed, its error."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ranked = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("class", "probability")]
    writer.writerow(["picture", "unsure", *ranked, "error"])
    for row in rows:
        pairs = [value for part in row.get("classes", ()) for value in part.values()]
        pairs += [""] * (2 * top - len(pairs))
        unsure = "" if row.get("unsure") is None else str(row["unsure"]).lower()
        name, error = (  # a file's name may be no Unicode, and the error repeats it
            text.encode("utf-8", "backslashreplace").decode()
            for text in (row["picture"], row.get("error", ""))
        )
        writer.writerow([name, unsure, *pairs, error])
    return buffer.getvalue().rstrip("\n")


def save_heat_map(classifier, picture, name, folder):
    """Write the heat map over a picture as `NAME.heat.png` into a folder; never over another file.

    Returns:
        The path.

    Raises:
        ParameterError: If it cannot be written there.
    """
    from cifar_utils.inference.explain import compute_heat_map, draw_heat_map
    from cifar_utils.paths import atomic_path

    folder = Path(folder)
    stem = Path(name).stem[:100]
    names = (f"{stem}{'' if count == 1 else f'-{count}'}{HEAT_SUFFIX}" for count in range(1, 10**6))
    drawn = draw_heat_map(picture, compute_heat_map(classifier, picture))
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
