"""What programs ask: answers as JSON, health, metrics, the description of all this."""

from flask import Blueprint, current_app, jsonify, make_response, request

from cifar_utils.apps.web.answers import read_options
from cifar_utils.apps.web.metrics import TEXT_FORMAT
from cifar_utils.apps.web.openapi import make_document
from cifar_utils.apps.web.uploads import collect_uploads

api = Blueprint("api", __name__)


@api.post("/api/predict")
def predict():
    """Classify the pictures of a request."""
    site = current_app.extensions["site"]
    options = read_options(request.args)
    uploads = collect_uploads(request, site.folder)
    rows, status = site.classify(uploads, options)
    return jsonify(describe_model(site.classifier) | {"pictures": rows}), status


@api.get("/healthz")
def healthz():
    """Say that the server answers, and with what model."""
    return jsonify({"status": "ok"} | describe_model(current_app.extensions["site"].classifier))


@api.get("/metrics")
def metrics():
    """Counts and latencies for Prometheus."""
    response = make_response(current_app.extensions["site"].metrics.render())
    response.headers["Content-Type"] = TEXT_FORMAT
    return response


@api.get("/openapi.json")
def openapi():
    """The description of these addresses."""
    return jsonify(make_document())


def describe_model(classifier):
    """Return what answers: a JSON-ready dict."""
    return {
        "model": str(classifier.source),
        "engine": classifier.engine,
        "synthetic": classifier.source.synthetic,
        "calibrated": classifier.calibration is not None,
    }
