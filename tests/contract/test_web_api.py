"""The API keeps to its own description: schemathesis makes requests from it, right and wrong."""

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from cifar_utils.apps.web.app import create_app
from cifar_utils.apps.web.openapi import make_document
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.samples import list_samples


class Described:
    """The application, made when it is first asked, since collection should load no model."""

    app = None

    def __call__(self, environ, start_response):
        if Described.app is None:
            Described.app = create_app(Classifier.load(), "no-such-folder")
        return Described.app(environ, start_response)


schema = schemathesis.openapi.from_dict(make_document())
schema.app = Described()
schema.config.update(base_url="http://localhost")


@schema.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case):
    # Whether random bytes are a picture is for the decoder to say: the description cannot.
    excluded = [positive_data_acceptance]
    if case.media_type == "multipart/form-data":  # knows no types: `true` is a text as well
        excluded.append(negative_data_rejection)
    case.call_and_validate(excluded_checks=excluded)


def test_an_answer_that_is_not_as_described_would_be_noticed():
    """A negative sample: the same requests to an application that answers something else."""

    def other(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"status": "ill"}']

    wrong = schemathesis.openapi.from_dict(make_document())
    wrong.app = other
    case = wrong["/healthz"]["GET"].Case()
    with pytest.raises(FailureGroup):
        case.call_and_validate(base_url="http://localhost")
    case.call_and_validate(base_url="http://localhost", checks=[not_a_server_error])


def test_real_answers_fit_their_schema():
    """schemathesis never hits on a picture by chance."""
    client = create_app(Classifier.load(), "no-such-folder").test_client()
    body = list_samples()["coffee"].read_bytes()
    address = "/api/predict?heat_map=true&picture=true&top=10"
    answer = client.post(address, data=body, content_type="image/jpeg")
    described = {"$ref": "#/components/schemas/Answers", **make_document()}
    jsonschema.validate(answer.get_json(), described)
    (row,) = answer.get_json()["pictures"]
    with pytest.raises(jsonschema.ValidationError):  # a negative sample
        jsonschema.validate({"pictures": [row | {"label": "unicorn"}]}, described)
