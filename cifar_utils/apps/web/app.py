"""The Flask application: `create_app(classifier)`."""

import time
from dataclasses import dataclass

from flask import Flask, current_app, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from cifar_utils import __version__
from cifar_utils.apps.web import limits
from cifar_utils.apps.web.answers import answer, choose_status
from cifar_utils.apps.web.api import api
from cifar_utils.apps.web.images_folder import ImagesFolder
from cifar_utils.apps.web.metrics import Metrics
from cifar_utils.apps.web.pages import pages
from cifar_utils.apps.web.security import HEADERS, LOOPBACK, check_request
from cifar_utils.apps.web.thumbnails import Thumbnails
from cifar_utils.apps.web.uploads import MemoryRequest, RequestError
from cifar_utils.inference.images import MAX_BYTES

JSON_PATHS = ("/api/", "/healthz", "/metrics", "/openapi.json")


@dataclass(frozen=True, eq=False)
class Site:
    """What the routes share: `current_app.extensions["site"]`."""

    classifier: object
    folder: ImagesFolder
    thumbnails: Thumbnails
    metrics: Metrics

    def classify(self, uploads, options):
        """Answer for some `uploads.Upload`s; returns the rows, and a status for all."""
        rows, statuses = [], []
        for upload in uploads:
            start = time.perf_counter()
            row, status = answer(self.classifier, upload, options)
            self.metrics.count_picture(row, time.perf_counter() - start)
            rows.append(row)
            statuses.append(status)
        return rows, choose_status(statuses)


class PageApp(Flask):
    """Keeps uploads in memory."""

    request_class = MemoryRequest


def create_app(classifier, images_dir="Images", allowed_hosts=LOOPBACK) -> Flask:
    """Make the application around a classifier that is loaded already.

    Args:
        classifier: An `inference.Classifier`, or what has its attributes `predict_prepared`,
            `compute_probs`, `class_names`, `source`, `engine` and `calibration`.
        images_dir: The folder whose pictures can be chosen; need not exist, and is read anew at
            each request.
        allowed_hosts: Names under which the server answers; None for any. See
            `security.find_allowed_hosts`.

    Returns:
        A WSGI application that writes nothing to disk.
    """
    app = PageApp(__name__)
    app.config.update(
        MAX_CONTENT_LENGTH=limits.MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=100_000,  # bytes of fields that are no files
        MAX_FORM_PARTS=2 * limits.MAX_FILES + 10,
    )
    app.json.sort_keys = False
    app.jinja_env.globals.update(
        class_names=classifier.class_names,
        source=classifier.source,
        engine=classifier.engine,
        calibrated=classifier.calibration is not None,
        limits=limits,
        max_bytes=MAX_BYTES,
        version=__version__,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    folder = ImagesFolder(images_dir)
    app.extensions["site"] = Site(classifier, folder, Thumbnails(folder), Metrics())
    app.register_blueprint(pages)
    app.register_blueprint(api)
    _add_hooks(app, allowed_hosts)
    for kind in (RequestError, HTTPException, Exception):
        app.register_error_handler(kind, _show_error)
    return app


def _add_hooks(app, allowed_hosts):
    """Check each request before it is looked at; mark and count each response."""

    @app.before_request
    def begin():
        g.start = time.perf_counter()
        check_request(request, allowed_hosts)

    @app.after_request
    def finish(response):
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        route = request.url_rule.rule if request.url_rule else "none"
        seconds = time.perf_counter() - g.get("start", time.perf_counter())
        metrics = app.extensions["site"].metrics
        metrics.count_request(request.method, route, response.status_code, seconds)
        return response


def _show_error(error):
    """Say what went wrong, without a trace: as JSON to programs, as a page to people."""
    if isinstance(error, RequestError):
        status, text = error.status, str(error)
    elif isinstance(error, RequestEntityTooLarge):
        most = limits.MAX_REQUEST_BYTES / 1e6
        status = 413
        text = (
            f"The request is too large: at most {most:.0f} MB and {limits.MAX_FILES} pictures. Send"
            " fewer or smaller ones."
        )
    elif isinstance(error, HTTPException) and not isinstance(error, InternalServerError):
        if error.code is None or error.code < 400:
            return error  # a redirection
        status, text = error.code, _explain(error)
    else:
        current_app.logger.error("Error at %s", request.path, exc_info=error)
        status, text = 500, "Something went wrong in the server; its log says what. Try again."
    if request.path.startswith(JSON_PATHS):
        response = jsonify(error=text)
    else:
        response = make_response(render_template("error.html", status=status, text=text))
    if isinstance(error, HTTPException):
        allowed = [pair for pair in error.get_headers() if pair[0] == "Allow"]
        response.headers.extend(allowed)
    response.status_code = status
    return response


def _explain(error):
    """Word an HTTP error for people."""
    known = {
        400: "The request is not well-formed.",
        404: "There is nothing at this address.",
        405: f"{request.method} is not possible at this address.",
    }
    return known.get(error.code) or str(error.description)
