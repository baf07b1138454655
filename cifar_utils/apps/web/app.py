"""The Flask application: `create_app(classifier)`.

People get HTML, programs JSON, both from the rows of `answers.answer`.
"""

import json
import time
from pathlib import Path
from types import SimpleNamespace

from flask import (
    Blueprint,
    Flask,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
    url_for,
)
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from cifar_utils import __version__
from cifar_utils.apps.web import security
from cifar_utils.apps.web.answers import (
    MAX_FILES,
    MAX_REQUEST_BYTES,
    Options,
    RequestError,
    answer,
    collect_uploads,
    read_options,
)
from cifar_utils.apps.web.folder import ImagesFolder
from cifar_utils.errors import ImageError
from cifar_utils.inference.images import MAX_BYTES
from cifar_utils.inference.samples import list_samples

JSON_PATHS = ("/api/", "/healthz", "/metrics", "/openapi.json")
MAX_TEXT_BYTES = 100_000  # of form fields that are no files
SHOWN_CLASSES = 5
PICTURES_PER_PAGE = 60
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds

routes = Blueprint("web", __name__)


def create_app(classifier, images_dir="Images", allowed_hosts=security.LOOPBACK) -> Flask:
    """Make the WSGI application around a classifier that is loaded already.

    Args:
        classifier: An `inference.Classifier`.
        images_dir: The folder whose photos can be chosen; need not exist, and is read anew at
            each request.
        allowed_hosts: Names under which the server answers; None for any. See
            `security.find_allowed_hosts`.
    """
    app = Flask(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_TEXT_BYTES,
        MAX_FORM_PARTS=2 * MAX_FILES + 10,
        ALLOWED_HOSTS=allowed_hosts,
    )
    app.json.sort_keys = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        classifier=classifier,
        max_files=MAX_FILES,
        max_bytes=MAX_BYTES,
        max_request_bytes=MAX_REQUEST_BYTES,
        version=__version__,
    )
    app.extensions.update(
        classifier=classifier, folder=ImagesFolder(images_dir), metrics=_make_metrics()
    )
    app.register_blueprint(routes)
    return app


# For people


@routes.get("/")
def show_page():
    """The page, with the folder as it is now."""
    return _render_page()


@routes.get("/predict")
def go_back():
    """Lead a browser that reloads the answers' address to the page."""
    return redirect(url_for(".show_page"))


@routes.post("/predict")
def show_answers():
    """The page with answers, for browsers without JavaScript."""
    try:
        uploads = collect_uploads(request, current_app.extensions["folder"])
    except RequestError as error:
        return _render_page(problem=str(error)), error.status
    rows, status = _classify(uploads, Options(SHOWN_CLASSES, "heat_map" in request.form, True))
    return _render_page(rows), status


def _render_page(rows=(), problem=""):
    """Render the page, with answers or with the reason why there are none."""
    folder = current_app.extensions["folder"]
    names, folder_problem = folder.list()
    count = max(1, -(-len(names) // PICTURES_PER_PAGE))
    wanted = request.args.get("page", 1, lambda text: int(text[:6]))  # 1 if it is no number
    number = min(max(wanted, 1), count)
    shown = names[(number - 1) * PICTURES_PER_PAGE : number * PICTURES_PER_PAGE]
    return render_template(
        "index.html",
        pictures=[(name, folder.find_version(name)) for name in shown],
        total=len(names),
        folder_problem=folder_problem,
        folder_name=folder.path.name or str(folder.path),
        page_number=number,
        page_count=count,
        samples=[] if shown else list(list_samples()),
        rows=rows,
        problem=problem,
    )


@routes.get("/thumbnails/<name>")
def show_thumbnail(name):
    """A small JPEG of a photo in the folder."""
    try:
        jpeg, version = current_app.extensions["folder"].make_thumbnail(name)
    except ImageError:
        response = current_app.send_static_file("unreadable.svg")
        response.status_code = 422
        return response
    response = make_response(jpeg)
    response.mimetype = "image/jpeg"
    response.set_etag(version)
    # The page names the version in the address; then the answer never changes.
    current = request.args.get("v") == version
    response.headers["Cache-Control"] = "private, " + (
        "max-age=31536000, immutable" if current else "no-cache"
    )
    return response.make_conditional(request)


@routes.get("/samples/<name>")
def show_sample(name):
    """One of the photos that ship with the package."""
    path = list_samples().get(name)
    if path is None:
        raise RequestError("There is no such sample photo.", 404)
    return send_file(path, max_age=3600)


@routes.get("/api")
def show_api():
    """How programs use the server."""
    text = Path(current_app.static_folder, "openapi.json").read_text(encoding="utf-8")
    return render_template("api.html", document=json.loads(text))


# For programs


@routes.post("/api/predict")
def predict():
    """Classify the photos of a request."""
    options = read_options(request.values)
    rows, status = _classify(collect_uploads(request, current_app.extensions["folder"]), options)
    return _describe_model() | {"pictures": rows}, status


@routes.get("/healthz")
def healthz():
    """Say that the server answers, and with what model."""
    return {"status": "ok"} | _describe_model()


@routes.get("/metrics")
def metrics():
    """Counts and latencies for Prometheus."""
    text = generate_latest(current_app.extensions["metrics"].registry)
    return text, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


@routes.get("/openapi.json")
def openapi():
    """The description of these addresses."""
    return current_app.send_static_file("openapi.json")


def _classify(uploads, options):
    """Return the rows of some `Upload`s, and one status: 200 if one photo at least was read."""
    rows, statuses, metrics = [], set(), current_app.extensions["metrics"]
    for upload in uploads:
        with metrics.picture_seconds.time():
            row, status = answer(current_app.extensions["classifier"], upload, options)
        outcome = "refused" if "error" in row else "unsure" if row["unsure"] else "answered"
        metrics.pictures.labels(outcome).inc()
        rows.append(row)
        statuses.add(status)
    return rows, 200 if 200 in statuses else statuses.pop() if len(statuses) == 1 else 422


def _describe_model():
    """Return what answers: a JSON-ready dict."""
    classifier = current_app.extensions["classifier"]
    return {
        "model": str(classifier.source),
        "engine": classifier.engine,
        "synthetic": classifier.source.synthetic,
        "calibrated": classifier.calibration is not None,
    }


def _make_metrics():
    """Make the counts and latencies of one application, in a registry of their own."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)

    def make(kind, name, purpose, *labels, **options):
        return kind(f"cifar_{name}", purpose, labels, registry=registry, **options)

    return SimpleNamespace(
        registry=registry,
        requests=make(Counter, "http_requests", "Requests answered.", "method", "route", "status"),
        request_seconds=make(
            Histogram, "http_request_seconds", "Time of a request.", "route", buckets=BUCKETS
        ),
        pictures=make(Counter, "pictures", "Photos by outcome.", "outcome"),
        picture_seconds=make(
            Histogram, "picture_seconds", "To read and classify a photo.", buckets=BUCKETS
        ),
    )


# For all of them


@routes.before_app_request
def _begin():
    """Check each request before it is handled."""
    g.start = time.perf_counter()
    security.check_request(request, current_app.config["ALLOWED_HOSTS"])


@routes.after_app_request
def _finish(response):
    """Mark and count each response."""
    for name, value in security.HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    metrics = current_app.extensions["metrics"]
    # What a client can choose freely becomes no label.
    method = request.method if request.method in METHODS else "other"
    route = request.url_rule.rule if request.url_rule else "none"
    metrics.requests.labels(method, route, str(response.status_code)).inc()
    metrics.request_seconds.labels(route).observe(time.perf_counter() - g.start)
    return response


@routes.app_errorhandler(Exception)
def _show_error(error):
    """Say what went wrong, without a trace: as JSON to programs, as a page to people."""
    status, headers = 500, []
    text = "Something went wrong in the server; its log says what. Try again."
    if isinstance(error, RequestError):
        status, text = error.status, str(error)
    elif isinstance(error, HTTPException) and error.code != 500:
        if error.code is None or error.code < 400:
            return error  # a redirection
        status, text = error.code, _explain(error)
        headers = [pair for pair in error.get_headers() if pair[0] == "Allow"]
    else:
        current_app.logger.error("Error at %s", request.path, exc_info=error)
    if request.path.startswith(JSON_PATHS):
        return {"error": text}, status, headers
    return render_template("error.html", status=status, text=text), status, headers


def _explain(error):
    """Word an HTTP error for people."""
    if isinstance(error, RequestEntityTooLarge):
        most = f"at most {MAX_REQUEST_BYTES / 1e6:.0f} MB and {MAX_FILES} photos"
        if (request.content_length or 0) > MAX_REQUEST_BYTES:
            return f"The request is too large: {most}. Send fewer or smaller ones."
        return (
            f"The form has too many fields, or one of more than {MAX_TEXT_BYTES / 1e3:.0f} kB that"
            f" is no file. A part is a file if it has a file name: -F file=@photo.jpg; {most}."
        )
    known = {
        400: "The request is not well-formed.",
        404: "There is nothing at this address.",
        405: f"{request.method} is not possible at this address.",
    }
    return known.get(error.code, str(error.description))
