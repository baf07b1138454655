"""The OpenAPI document: what the addresses for programs take and return.

Tests hold the server to it (schemathesis), so it is written once, here, from the same limits.
"""

import functools

from cifar_utils import __version__
from cifar_utils.apps.web.limits import (
    DEFAULT_TOP,
    MAX_FILES,
    MAX_REQUEST_BYTES,
    MAX_TOP,
    SHOWN_SIDE,
)
from cifar_utils.data import CLASS_NAMES
from cifar_utils.inference.images import MAX_BYTES

BINARY = {"type": "string", "format": "binary"}
EXAMPLE = {
    "name": "cat.jpg",
    "label": "cat",
    "probability": 0.982,
    "unsure": False,
    "classes": [{"class": "cat", "probability": 0.982}, {"class": "dog", "probability": 0.011}],
    "calibrated": True,
    "size": [451, 300],
    "box": [75, 0, 375, 300],
    "view": "data:image/png;base64,iVBORw0KGgo=",
}


def _image_url(kind, what):
    return {
        "type": "string",
        "pattern": f"^data:image/{kind};base64,[A-Za-z0-9+/]+=*$",
        "description": what,
    }


def _whole_numbers(count, what, least=0):
    return {
        "type": "array",
        "items": {"type": "integer", "minimum": least},
        "minItems": count,
        "maxItems": count,
        "description": what,
    }


def _make_schemas():
    """Return what answers look like."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    answer = {
        "name": {"type": "string", "description": "The file's name."},
        "label": {"enum": list(CLASS_NAMES), "description": "The most probable class."},
        "probability": share | {"description": "Of that class."},
        "unsure": {
            "type": ["boolean", "null"],
            "description": "Whether the answer is too uncertain to be relied on; null for a model"
            " without a calibration.",
        },
        "classes": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Share"},
            "minItems": 1,
            "maxItems": MAX_TOP,
            "description": "The most probable classes, as many as 'top' says.",
        },
        "calibrated": {
            "type": "boolean",
            "description": "Whether the probabilities were fitted on held-out images.",
        },
        "size": _whole_numbers(2, "Width and height of the upright picture, in pixels.", 1),
        "box": _whole_numbers(4, "Left, top, right, bottom of what the network saw, in pixels."),
        "view": _image_url("png", "What the network saw: 32 by 32 pixels."),
        "picture": _image_url("jpeg", f"The picture, at most {SHOWN_SIDE} pixels; if asked for."),
        "heat_map": _image_url(
            "jpeg", "The same, grey where the answer did not come from; if asked for."
        ),
    }
    optional = ("picture", "heat_map")
    model = {
        "model": {"type": "string", "description": "Which weights answer."},
        "engine": {"type": "string", "description": "What runs them."},
        "synthetic": {
            "type": "boolean",
            "description": "Whether the model has only seen drawings, so that its answers about"
            " photographs mean nothing.",
        },
        "calibrated": {"type": "boolean"},
    }
    failed = {"name": answer["name"], "error": {"type": "string", "description": "Why, what next."}}
    pictures = {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"$ref": f"#/components/schemas/{n}"} for n in ("Answer", "Failure")]},
    }
    return {
        "Answer": _strict(answer, [name for name in answer if name not in optional]),
        "Share": _strict({"class": {"enum": list(CLASS_NAMES)}, "probability": share}),
        "Failure": _strict(failed),
        "Answers": _strict(model | {"pictures": pictures}),
        "Health": _strict({"status": {"const": "ok"}} | model),
        "Error": _strict({"error": {"type": "string", "description": "Why, and what to do next."}}),
    }


def _strict(properties, required=None):
    return {
        "type": "object",
        "required": list(properties) if required is None else required,
        "properties": properties,
        "additionalProperties": False,
    }


def _respond(what, *names):
    """Return a JSON response with one of some schemas."""
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _flag(name, what):
    return {
        "name": name,
        "in": "query",
        "description": what,
        "schema": {"type": "boolean", "default": False},
    }


def _make_predict():
    """Return the description of `POST /api/predict`."""
    limits = f"{MAX_BYTES / 1e6:.0f} MB and 64 megapixels"
    files = {"type": "array", "items": BINARY, "maxItems": MAX_FILES}
    names = {"type": "array", "items": {"type": "string"}, "maxItems": MAX_FILES}
    form = {
        "type": "object",
        "properties": {
            "file": files | {"description": "Pictures; the field may be repeated."},
            "image": names | {"description": "Names of pictures in the folder; repeatable."},
        },
    }
    top = {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP}
    raw = {"schema": BINARY}
    return {
        "operationId": "predict",
        "summary": "Classify pictures",
        "description": f"Each of at most {limits}; together at most {MAX_FILES} pictures and"
        f" {MAX_REQUEST_BYTES / 1e6:.0f} MB. JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, PPM. If at"
        " least one of several pictures was read, the status is 200, and each of the others has an"
        " error in its place.",
        "parameters": [
            {"name": "top", "in": "query", "description": "How many classes.", "schema": top},
            _flag("heat_map", "Also draw which regions drove the answer; takes longer."),
            _flag("picture", "Also return the picture itself, small and upright."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": raw,
                "application/octet-stream": raw,
            },
        },
        "responses": {
            "200": _respond("An answer or an error for each picture, in order.", "Answers")
            | {"x-example": EXAMPLE},
            "400": _respond("No picture, or a parameter that is not what it may be.", "Error"),
            "403": _respond("Sent by another web site, or to another name.", "Error"),
            "404": _respond("The folder has none of these pictures.", "Answers"),
            "413": _respond("Too large.", "Error", "Answers"),
            "415": _respond("A body of another kind.", "Error"),
            "422": _respond(
                "None of the pictures could be read, and each says why; or there are too many.",
                "Answers",
                "Error",
            ),
        },
    }


def _make_get(operation, summary, response):
    return {"get": {"operationId": operation, "summary": summary, "responses": response}}


@functools.cache
def make_document() -> dict:
    """Return the OpenAPI 3.1 document as a JSON-ready dict. Do not change it."""
    foreign = {"403": _respond("Sent to another name.", "Error")}
    text = {"description": "As text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    anything = {"type": "object"}
    described = {
        "description": "This document.",
        "content": {"application/json": {"schema": anything}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cifar-notebooks",
            "version": __version__,
            "description": "Which of ten classes does a picture show? " + ", ".join(CLASS_NAMES),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/api/predict": {"post": _make_predict()},
            "/healthz": _make_get(
                "healthz",
                "Does it answer, and with which model?",
                {"200": _respond("It does.", "Health")} | foreign,
            ),
            "/metrics": _make_get(
                "metrics", "Counts and latencies, for Prometheus", {"200": text} | foreign
            ),
            "/openapi.json": _make_get("openapi", "This document", {"200": described} | foreign),
        },
        "components": {"schemas": _make_schemas()},
    }
