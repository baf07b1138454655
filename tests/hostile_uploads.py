"""Sends hostile, damaged and odd uploads through the page's application, and watches the memory.

    python tests/hostile_uploads.py COUNT
    python tests/hostile_uploads.py MEGAPIXELS PNG    # one harmless large photo instead; or JPEG

prints what became of them. The files are those of `hostile_files`; the ways of sending them, their
names and the queries vary.
"""

import collections
import gc
import io
import json
import re
import resource
import sys
import time

from hostile_files import make_files

NAMES = (
    "cat.jpg",
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/shadow",
    "C:\\Windows\\win.ini",
    "a\0b.png",
    "<img src=x onerror=alert(1)>.png",
    "\u202egnp.exe",
    "名前😀.jpeg",
    "x" * 5000 + ".png",
    "",
    ".",
    "%2e%2e%2fsecret.png",
    "'; DROP TABLE pictures;--.png",
    "line\r\nSet-Cookie: a=b.png",
)
FIELDS = (
    b"file",
    b"file[]",
    b"image",
    b"files",
    b"file",
    b"photo",
    b"file",
    b"",
    b"file",
    b"\xff<b>",
    b"file",
)
QUERIES = ("", "top=10", "top=1&picture=true", "heat_map=0", "x=%ff", "top=3", "picture=1", "top=0")
TYPES = ("image/png", "image/jpeg", "application/octet-stream", "text/html", "image/svg+xml", "")


def make_multipart(data, name, field):
    """Return a body with one file under any name, and its content type."""
    name = name.replace('"', "%22").encode("utf-8", "replace")
    head = (
        b'--x\r\nContent-Disposition: form-data; name="'
        + field
        + b'"; filename="'
        + name
        + b'"\r\n\r\n'
    )
    return head + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def make_requests(count, seed=0):
    """Make requests.

    Yields:
        `(what, path, query, body, content type)`.
    """
    for number, (what, data) in enumerate(make_files(count, seed)):
        query = QUERIES[number % len(QUERIES)]
        body, kind = make_multipart(data, NAMES[number % len(NAMES)], FIELDS[number % len(FIELDS)])
        way = number % 7
        if way == 0:
            yield what, "/api/predict", query, data, TYPES[number // 7 % len(TYPES)]
        elif way == 1:
            yield f"{what}, half a form", "/api/predict", query, body[: len(body) // 2], kind
        elif way == 2:
            yield what, "/predict", "", body, kind
        else:
            yield what, "/api/predict", query, body, kind


def main(count):
    """Send, count, and watch the memory."""
    import psutil

    from cifar_utils.apps.web.app import create_app
    from cifar_utils.inference.classifier import Classifier

    client, process = (
        create_app(Classifier.load(), "no-such-folder").test_client(),
        psutil.Process(),
    )
    statuses, faults, before = collections.Counter(), [], 0
    start = time.perf_counter()
    for number, (what, path, query, body, kind) in enumerate(make_requests(count)):
        if number == count // 4:  # by then every reader has been loaded and every buffer made
            gc.collect()
            before = process.memory_info().rss
        response = client.post(
            path, query_string=query, input_stream=io.BytesIO(body), content_type=kind or None,
            content_length=len(body),
        )  # fmt: skip
        statuses[response.status_code] += 1
        if not has_answer_or_reason(path, response):
            faults.append(f"{number}: {what}: {response.status}: {response.text[:200]}")
    gc.collect()
    report = {
        "requests": count,
        "statuses": dict(sorted(statuses.items())),
        "without_answer_or_reason": faults,
        "seconds": round(time.perf_counter() - start, 1),
        "memory_growth": round(process.memory_info().rss / before - 1, 4),
        "memory_mb": round(process.memory_info().rss / 1e6),
        "memory_peak_mb": read_peak(),
    }
    print(json.dumps(report))


def has_answer_or_reason(path, response):
    """Return whether a response is an answer, or a refusal that says why."""
    if response.status_code != 200 and not 400 <= response.status_code < 500:
        return False
    if "Traceback" in response.text:
        return False
    if path != "/api/predict":  # the page says what became of it, or why nothing did
        return bool(re.search(r'role="status"[^>]*>[^<]{15,}<', response.text))
    told = response.get_json()
    if response.status_code == 200:
        return all("label" in row or len(row["error"]) > 20 for row in told["pictures"])
    reasons = [told["error"]] if "error" in told else [row["error"] for row in told["pictures"]]
    return all(len(reason) > 20 for reason in reasons)


def send_large(megapixels, kind):
    """Send one photo, with transparency if it is a PNG; print the time and the most memory."""
    from PIL import Image

    from cifar_utils.apps.web.app import create_app
    from cifar_utils.inference.classifier import Classifier

    client, body = create_app(Classifier.load(), "no-such-folder").test_client(), io.BytesIO()
    side = int((megapixels * 1e6) ** 0.5)
    Image.new("RGBA" if kind == "PNG" else "RGB", (side, side)).save(body, kind)
    start = time.perf_counter()
    response = client.post("/api/predict", data=body.getvalue(), content_type="image/png")
    seconds = round(time.perf_counter() - start, 1)
    report = {"status": response.status_code, "seconds": seconds, "memory_peak_mb": read_peak()}
    print(json.dumps(report))


def read_peak():
    """Return the most memory that this process has had, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main(int(sys.argv[1])) if len(sys.argv) < 3 else send_large(float(sys.argv[1]), sys.argv[2])
