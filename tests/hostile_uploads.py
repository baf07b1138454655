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
import sys
import time
from pathlib import Path

import psutil
from hostile_files import make_files
from PIL import Image

from cifar_utils.apps.web.app import create_app
from cifar_utils.inference.classifier import Classifier

NAMES = (
    "cat.jpg",
    "../../etc/passwd",
    "C:\\Windows\\win.ini",
    "a\0b.png",
    "<img src=x onerror=alert(1)>.png",
    "\u202egnp.exe 名前😀.jpeg",
    "x" * 5000 + ".png",
    "",
    "%2e%2e%2fsecret.png",
    "line\r\nSet-Cookie: a=b.png",
)
FIELDS = (*[b"file"] * 5, b"file[]", b"image", b"files", b"photo", b"", b"\xff<b>")
QUERIES = ("", "top=10", "top=1&picture=true", "heat_map=0", "x=%ff", "top=3", "top=0")
TYPES = ("image/png", "image/jpeg", "application/octet-stream", "text/html", "image/svg+xml", "")
HEAD = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n'


def make_requests(count, seed=0):
    """Yield `(what, path, query, body, content type)`."""
    for number, (what, data) in enumerate(make_files(count, seed)):
        query, way = QUERIES[number % len(QUERIES)], number % 8
        name = NAMES[number % len(NAMES)].replace('"', "%22").encode("utf-8", "replace")
        body = HEAD % (FIELDS[number % len(FIELDS)], name) + data + b"\r\n--x--\r\n"
        kind = "multipart/form-data; boundary=x"
        if way == 0:
            yield what, "/api/predict", query, data, TYPES[number // 8 % len(TYPES)]
        elif way == 1:
            yield f"{what}, half a form", "/api/predict", query, body[: len(body) // 2], kind
        elif way == 2:
            yield what, "/predict", "", body, kind
        else:
            yield what, "/api/predict", query, body, kind


def main(count):
    """Send, count, and watch the memory."""
    client = create_app(Classifier.load(), "no-such-folder").test_client()
    process, statuses, faults, before = psutil.Process(), collections.Counter(), [], 0
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
    return {
        "requests": count,
        "statuses": dict(sorted(statuses.items())),
        "without_answer_or_reason": faults,
        "seconds": round(time.perf_counter() - start, 1),
        "memory_growth": round(process.memory_info().rss / before - 1, 4),
        "memory_mb": round(process.memory_info().rss / 1e6),
    }


def has_answer_or_reason(path, response):
    """Return whether a response is an answer, or a refusal that says why."""
    if response.status_code != 200 and not 400 <= response.status_code < 500:
        return False
    if "Traceback" in response.text:
        return False
    if path != "/api/predict":  # the page says what became of it, or why nothing did
        return bool(re.search(r'role="status"[^>]*>[^<]{15,}<', response.text))
    rows = response.get_json().get("pictures", [response.get_json()])
    answered = response.status_code == 200
    return all((answered and "label" in row) or len(row["error"]) > 20 for row in rows)


def send_large(megapixels, kind):
    """Send one photo, with transparency if it is a PNG; returns status and time."""
    client, body = create_app(Classifier.load(), "no-such-folder").test_client(), io.BytesIO()
    side = int((megapixels * 1e6) ** 0.5)
    Image.new("RGBA" if kind == "PNG" else "RGB", (side, side)).save(body, kind)
    start = time.perf_counter()
    response = client.post("/api/predict", data=body.getvalue(), content_type="image/png")
    return {"status": response.status_code, "seconds": round(time.perf_counter() - start, 1)}


if __name__ == "__main__":
    few = len(sys.argv) < 3
    report = main(int(sys.argv[1])) if few else send_large(float(sys.argv[1]), sys.argv[2])
    # The most memory, from Linux. `getrusage` would count the process that started this one, too.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    print(json.dumps(report | {"memory_peak_mb": round(peak / 1e6)}))
