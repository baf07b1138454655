"""The API keeps to its own description: schemathesis makes requests from it, right and wrong."""

import json

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from cifar_utils.apps.web import answers, server
from cifar_utils.apps.web.app import create_app
from cifar_utils.data import CLASS_NAMES
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.images import MAX_BYTES, MAX_PIXELS
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import project_root

DESCRIPTION = json.loads(
    (project_root() / "cifar_utils/apps/web/static/openapi.json").read_text(encoding="utf-8")
)


class Described:
    """The application, made when it is first used, since collection should load no model."""

    app = None

    def __call__(self, environ, start_response):
        if Described.app is None:
            Described.app = create_app(Classifier.load(), "no-such-folder")
        return Described.app(environ, start_response)


schema = schemathesis.openapi.from_dict(DESCRIPTION)
schema.app = Described()
schema.config.update(base_url="http://localhost")


@schema.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case):
    # Whether random bytes are a photo is for the decoder to say: the description cannot.
    excluded = [positive_data_acceptance]
    if case.media_type == "multipart/form-data":  # knows no types: `true` is a text as well
        excluded.append(negative_data_rejection)
    case.call_and_validate(excluded_checks=excluded)


def test_real_answers_fit_their_schema():
    """schemathesis never hits on a photo by chance."""
    client = create_app(Classifier.load(), "no-such-folder").test_client()
    body = list_samples()["coffee"].read_bytes()
    address = "/api/predict?heat_map=true&picture=true&top=10"
    answer = client.post(address, data=body, content_type="image/jpeg").get_json()
    described = {"$ref": "#/components/schemas/Answers", **DESCRIPTION}
    jsonschema.validate(answer, described)
    (row,) = answer["pictures"]
    with pytest.raises(jsonschema.ValidationError):  # a negative sample
        jsonschema.validate(answer | {"pictures": [row | {"label": "unicorn"}]}, described)


def test_the_limits_that_are_told_are_those_of_the_code():
    document = DESCRIPTION
    predict = document["paths"]["/api/predict"]["post"]
    top = predict["parameters"][0]["schema"]
    assert (top["maximum"], top["default"]) == (answers.MAX_TOP, answers.DEFAULT_TOP)
    form = predict["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {field["maxItems"] for field in form.values()} == {answers.MAX_FILES}
    row = document["components"]["schemas"]["Answer"]["properties"]
    assert row["label"]["enum"] == list(CLASS_NAMES)
    assert row["classes"]["maxItems"] == answers.MAX_TOP
    assert f"{answers.SHOWN_SIDE} pixels" in row["picture"]["description"]
    told = (project_root() / "docs" / "server.md").read_text(encoding="utf-8")
    for text in (told, predict["description"]):
        assert f"{MAX_BYTES / 1e6:.0f} MB and {MAX_PIXELS / 1e6:.0f} megapixels" in text
        request = f"{answers.MAX_FILES} photos and {answers.MAX_REQUEST_BYTES / 1e6:.0f} MB"
        assert request in text
    assert f"above {server.MAX_BODY_BYTES / 1e6:.0f} MB" in told
    assert f"{server.MAX_CONNECTIONS}, each {server.IDLE_SECONDS} s" in told
