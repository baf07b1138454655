"""The page and its API: what people and programs send, and what they are told."""

import base64
import io
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hostile_files import make_tiled_tiff
from PIL import Image

from cifar_utils.apps.web import limits
from cifar_utils.apps.web import reading as reading_module
from cifar_utils.apps.web.answers import compute_heat
from cifar_utils.apps.web.app import create_app
from cifar_utils.apps.web.reading import read_picture
from cifar_utils.data import CLASS_NAMES
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.explain import compute_heat_map
from cifar_utils.inference.images import MAX_BYTES, MAX_PIXELS
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import project_root

CAT, COFFEE = list_samples()["cat"], list_samples()["coffee"]
FORM = {"content_type": "multipart/form-data"}
PARTS = ("name", "label", "probability", "unsure", "classes", "calibrated", "size", "box", "view")


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures: a cat, a cup of coffee."""
    path = tmp_path / "Images"
    path.mkdir()
    for sample in (CAT, COFFEE):
        (path / sample.name).write_bytes(sample.read_bytes())
    return path


@pytest.fixture
def client(classifier, folder):
    return create_app(classifier, folder).test_client()


def upload(*files):
    """Return form data with files: paths, or `(name, bytes)`."""
    pairs = [(file.name, file.read_bytes()) if isinstance(file, Path) else file for file in files]
    return {"file": [(io.BytesIO(data), name) for name, data in pairs]}


def encode(width, height, kind="PNG"):
    """Return a black picture's bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, kind)
    return buffer.getvalue()


def open_data_url(text):
    """Return the image of a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2])))


def test_the_page_lists_the_folder_as_thumbnails_with_a_button(client):
    page = client.get("/")
    assert page.status_code == 200
    assert re.findall(r'name="image" value="([^"]+)"', page.text) == ["cat.jpg", "coffee.jpg"]
    for address in re.findall(r'src="(/thumbnails/[^"]+)"', page.text):
        thumbnail = client.get(address.replace("&amp;", "&"))
        image = Image.open(io.BytesIO(thumbnail.data))
        assert (image.format, max(image.size)) == ("JPEG", limits.THUMBNAIL_SIDE)
        assert "immutable" in thumbnail.headers["Cache-Control"]
    assert ">Predict</button>" in page.text


def test_scripts_and_styles_come_from_the_app_itself(client):
    for address in ("/", "/api", "/nowhere"):
        text = client.get(address).text
        assert not re.search(r'(src|href|action)="(https?:)?//', text), address
        assert not re.search(r"<style|<script>|\sstyle=|\son\w+=", text), address
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
            assert client.get(path).status_code == 200


def test_a_picture_of_the_folder_is_classified_without_javascript(client):
    page = client.post("/predict", data={"image": "cat.jpg", "heat_map": "1"}, **FORM)
    assert page.status_code == 200
    assert re.search(r'data-slot="label">cat<', page.text)
    assert 'class="heat"' in page.text
    assert "data:image/png;base64," in page.text  # the 32×32 view


def test_what_it_is_not_sure_of_is_said_in_words(client):
    page = client.post("/predict", data=upload(COFFEE))
    assert '<li class="card answer unsure">' in page.text
    assert "perhaps none of the ten things" in page.text


def test_several_uploads_and_pictures_of_the_folder_go_together(client):
    data = upload(COFFEE, ("notes.txt", b"hello, this is text")) | {
        "image": ["cat.jpg", "gone.png"]
    }
    answer = client.post("/api/predict", data=data)
    assert answer.status_code == 200
    rows = answer.get_json()["pictures"]
    assert [row["name"] for row in rows] == ["coffee.jpg", "notes.txt", "cat.jpg", "gone.png"]
    assert "not a picture but text" in rows[1]["error"]
    assert rows[2]["label"] == "cat"
    assert "no picture 'gone.png'" in rows[3]["error"]
    page = client.post("/predict", data=upload(COFFEE, ("notes.txt", b"hello, this is text")))
    assert page.status_code == 200
    assert "notes.txt</bdi> was not classified" in page.text


def test_the_apis_answer_is_that_of_the_classifier(client, classifier):
    row = client.post("/api/predict?top=4", data=upload(CAT)).get_json()["pictures"][0]
    expected = classifier.predict(CAT)
    assert tuple(row) == PARTS
    assert row["label"] == expected.label == "cat"
    assert row["probability"] == pytest.approx(expected.confidence, abs=1e-6)
    assert [part["class"] for part in row["classes"]] == [name for name, _ in expected.top(4)]
    assert (row["unsure"], row["calibrated"]) == (expected.unsure, True)
    assert row["box"] == list(expected.box)
    assert row["size"] == list(Image.open(CAT).size)
    view = open_data_url(row["view"])
    assert (view.size, view.tobytes()) == ((32, 32), expected.view.tobytes())


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream"])
def test_a_raw_body_is_a_picture(client, kind):
    answer = client.post("/api/predict", data=CAT.read_bytes(), content_type=kind)
    assert answer.get_json()["pictures"][0]["label"] == "cat"


def test_picture_and_heat_map_come_when_asked_for_and_lie_over_each_other(client):
    address = "/api/predict?heat_map=true&picture=1"
    row = client.post(address, data=upload(CAT)).get_json()["pictures"][0]
    picture, heat = open_data_url(row["picture"]), open_data_url(row["heat_map"])
    assert picture.size == heat.size
    assert max(picture.size) <= limits.SHOWN_SIDE
    left, top, right, bottom = row["box"]
    saturation = np.ptp(np.asarray(heat.convert("RGB"), int), axis=2)
    assert saturation[:, : left - 8].max() < 24  # grey outside of what the network saw
    assert saturation[top:bottom, left:right].max() > 50


def test_the_heat_map_is_that_of_the_whole_picture(classifier):
    reading = read_picture(CAT.read_bytes(), limits.SHOWN_SIDE)  # small enough to stay as it is
    (prediction,) = classifier.predict_prepared([(reading.crops, reading.boxes)])
    heat = compute_heat(classifier, prediction, reading)
    np.testing.assert_allclose(heat, compute_heat_map(classifier, CAT), atol=1e-4)


def test_a_large_picture_is_read_by_a_process_of_its_own_with_the_same_answer(
    client, classifier, monkeypatch
):
    data = encode(3000, 3000, "JPEG")  # nine megapixels
    expected = classifier.predict(data)
    asked = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: asked.append(a) or run(*a, **k))
    row = client.post("/api/predict", data=upload(("black.jpg", data))).get_json()["pictures"][0]
    assert len(asked) == 1
    assert row["size"] == [3000, 3000]
    assert row["probability"] == pytest.approx(expected.confidence, abs=1e-6)


def progressive(side):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "thumbnail", "elsewhere"),
    [
        (CAT.read_bytes(), False, False),
        (encode(1500, 1500, "BMP")[:54] + bytes(range(250)) * 27_000, False, True),  # 3 a pixel
        (make_tiled_tiff(64, 64), False, False),
        (make_tiled_tiff(64, 2048), False, True),  # 64 pixels each way, and 4 million decoded
        (encode(3000, 3000, "JPEG"), True, False),  # decoded at a fraction of its size
        (progressive(3000), True, True),  # whose coefficients are all kept even so
        (b"P3 2 2 255 " + b"#\n" * 600_000 + b"0 " * 12, False, True),  # comments without end
    ],
    ids=["photo", "long", "small tile", "large tile", "draft", "progressive", "comments"],
)
def test_what_is_costly_to_decode_is_read_by_a_process_of_its_own(
    data, thumbnail, elsewhere, monkeypatch
):
    asked = []
    monkeypatch.setattr(reading_module, "_read_elsewhere", lambda *given: asked.append(given))
    (reading_module.read_thumbnail if thumbnail else read_picture)(data, 96)
    assert bool(asked) == elsewhere


def test_a_tiff_with_tiles_larger_than_any_picture_is_refused(client):
    answer = client.post("/api/predict", data=upload(("a.tif", make_tiled_tiff(64, 2**14))))
    assert answer.status_code == 422
    assert "tiles that are too large" in answer.get_json()["pictures"][0]["error"]


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [(11, 1, struct.pack("<f", np.inf)), (11, 1, struct.pack("<f", np.nan)), (2, 4, b"abc\0")],
)
def test_a_tiff_whose_tile_has_an_odd_width_is_answered_with_a_reason(client, kind, count, value):
    width = struct.pack("<HHII", 322, 4, 1, 64)
    data = make_tiled_tiff(64, 64).replace(width, struct.pack("<HHI", 322, kind, count) + value)
    assert client.post("/api/predict", data=upload(("a.tif", data))).status_code == 422


def test_a_large_picture_that_cannot_be_decoded_says_so(client):
    data = encode(3000, 3000)
    answer = client.post("/api/predict", data=upload(("cut.png", data[: len(data) // 2])))
    assert answer.status_code == 422
    assert "damaged or cut short" in answer.get_json()["pictures"][0]["error"]


@pytest.mark.parametrize(
    ("address", "fields", "status", "reason"),
    [
        ("/api/predict", {}, 400, "There is no picture"),
        ("/api/predict", {"file": (io.BytesIO(b""), "")}, 400, "There is no picture"),
        ("/api/predict?top=0", upload(CAT), 400, "from 1 to 10"),
        ("/api/predict?top=11", upload(CAT), 400, "from 1 to 10"),
        ("/api/predict?top=²", upload(CAT), 400, "from 1 to 10"),
        ("/api/predict?heat_map=maybe", upload(CAT), 400, "true or false"),
        ("/api/predict", {"image": "../cat.jpg"}, 404, "no picture '../cat.jpg'"),
        ("/api/predict", upload(*[("a.png", b"x")] * 21), 422, "21 pictures are too many"),
        ("/api/predict", upload(("a.png", b"")), 422, "It is empty"),
        ("/api/predict", upload(("a.png", bytes(MAX_BYTES + 1))), 413, "at most 25 MB"),
        ("/api/predict", upload(("a.png", encode(9000, 8000))), 422, "64 megapixels"),
    ],
)
def test_what_cannot_be_answered_is_a_4xx_with_a_reason(client, address, fields, status, reason):
    answer = client.post(address, data=fields, **FORM)
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert reason in answer.text.encode().decode("unicode_escape")


def test_a_body_of_another_kind_is_refused(client):
    for kind in ("text/html", "application/json", "application/x-www-form-urlencoded", ""):
        assert client.post("/api/predict", data=b"{}", content_type=kind).status_code == 415


def test_a_request_that_is_too_large_is_refused_for_people_and_programs(client):
    files = ("a.png", bytes(MAX_BYTES)), ("b.png", bytes(MAX_BYTES // 4))
    answer = client.post("/api/predict", data=upload(*files))
    assert (answer.status_code, answer.content_type) == (413, "application/json")
    assert "at most 30 MB" in answer.get_json()["error"]
    page = client.post("/predict", data=upload(*files))
    assert page.status_code == 413
    assert "at most 30 MB" in page.text


def test_pressing_predict_without_a_choice_says_so(client):
    page = client.post("/predict", data={"heat_map": "1"}, **FORM)
    assert page.status_code == 400
    assert "Choose one" in page.text
    assert client.get("/predict").location == "/"


def test_samples_are_offered_where_the_folder_has_nothing(classifier, tmp_path):
    client = create_app(classifier, tmp_path / "nowhere").test_client()
    page = client.get("/")
    assert f"There is no folder {tmp_path / 'nowhere'}" in page.text
    assert 'name="sample" value="cat"' in page.text
    assert client.get("/samples/cat").data == CAT.read_bytes()
    assert client.get("/samples/../cat").status_code == 404
    answer = client.post("/predict", data={"sample": ["cat", "../x"]}, **FORM)
    assert re.search(r'data-slot="label">cat<', answer.text)


def test_errors_are_pages_for_people_and_json_for_programs(client):
    page = client.get("/nowhere")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "There is nothing at this address" in page.text
    for address in ("/api/nowhere", "/healthz/x"):
        assert client.get(address).status_code == 404
    answer = client.get("/api/predict")
    assert (answer.status_code, answer.mimetype) == (405, "application/json")
    assert "POST" in answer.headers["Allow"]


def test_a_fault_of_ours_shows_no_trace(client, monkeypatch, caplog):
    monkeypatch.setattr("cifar_utils.apps.web.pages.list_samples", lambda: 1 / 0)
    monkeypatch.setattr("cifar_utils.apps.web.api.read_options", lambda query: 1 / 0)
    for answer in (client.post("/api/predict", data=upload(CAT)), client.get("/samples/x")):
        assert answer.status_code == 500
        assert "Something went wrong" in answer.text
        assert "ZeroDivision" not in answer.text
        assert "Traceback" not in answer.text
    assert "ZeroDivisionError" in caplog.text  # the log has it


def test_no_upload_is_written_to_disk(client, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = ("large.png", encode(30, 30) + bytes(3_000_000))  # Werkzeug's own limit is 500 kB
    answer = client.post("/api/predict?heat_map=1", data=upload(large, CAT))
    assert [row["name"] for row in answer.get_json()["pictures"]] == ["large.png", "cat.jpg"]


def test_every_answer_has_the_security_headers(client):
    answers = [client.get(a) for a in ("/", "/api", "/nowhere", "/healthz", "/static/page.css")]
    answers.append(client.post("/api/predict", data=upload(CAT)))
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "camera=()" in answer.headers["Permissions-Policy"]
    assert answers[-1].headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:5678", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("localhost.evil.example:5678", 403),
        ("127.0.0.1@evil.example", 403),
        ("[", 403),
        ("", 403),
    ],
)
def test_on_this_machine_only_this_machines_names_are_right(client, host, status):
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == status


def test_for_others_any_name_is_right(classifier, folder):
    client = create_app(classifier, folder, allowed_hosts=None).test_client()
    assert client.get("/healthz", headers={"Host": "pc.example:5678"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost:8000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
)
@pytest.mark.parametrize("address", ["/predict", "/api/predict"])
def test_another_site_cannot_post_through_a_persons_browser(client, headers, status, address):
    assert client.post(address, data=upload(CAT), headers=headers).status_code == status


@pytest.mark.parametrize("name", ["<b>x</b>.png", '"><script>alert(1)</script>', "a\u202eb.png"])
def test_names_are_shown_as_text(client, name):
    page = client.post("/predict", data=upload((name, CAT.read_bytes())))
    assert "<b>" not in page.text
    assert "<script>alert" not in page.text
    assert client.post("/api/predict", data=upload((name, b"x"))).status_code == 422


def test_a_model_that_knows_drawings_only_says_so_loudly(classifier, monkeypatch):
    source = type(classifier.source)(Path("x.keras"), {}, "a-run", "quick", "synthetic")
    monkeypatch.setattr(classifier, "source", source)
    client = create_app(classifier).test_client()
    assert "Trained on synthetic data, not CIFAR-10" in client.get("/").text
    assert client.get("/healthz").get_json()["synthetic"] is True


def test_health_and_metrics(client):
    health = client.get("/healthz").get_json()
    assert (health["status"], health["calibrated"]) == ("ok", True)
    client.post("/api/predict", data=upload(CAT, COFFEE, ("a.txt", b"text, no picture")))
    client.get("/" + "x" * 50)
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in (
        'cifar_pictures_total{outcome="answered"} 1.0',
        'cifar_pictures_total{outcome="unsure"} 1.0',
        'cifar_pictures_total{outcome="refused"} 1.0',
        'cifar_http_requests_total{method="POST",route="/api/predict",status="200"} 1.0',
        'cifar_http_requests_total{method="GET",route="none",status="404"} 1.0',
        'cifar_http_request_seconds_count{route="/api/predict"} 1.0',
    ):
        assert line in lines
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)


def test_the_description_is_one_and_has_a_page(client):
    document = client.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.")
    page = client.get("/api").text
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    properties = document["components"]["schemas"]["Answer"]["properties"]
    assert set(PARTS) < set(properties)
    assert properties["label"]["enum"] == list(CLASS_NAMES)


def test_the_readme_names_the_limits_that_hold():
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    files, seconds = limits.MAX_FILES, limits.REQUEST_SECONDS
    for told in (
        f"| a picture | {MAX_BYTES / 1e6:.0f} MB, {MAX_PIXELS / 1e6:.0f} megapixels |",
        f"| {limits.MAX_REQUEST_BYTES / 1e6:.0f} MB, {files} pictures, {seconds} s from",
        f"bodies of {limits.MAX_WAITING_BYTES / 1e6:.0f} MB and pictures of"
        f" {limits.PIXELS_AT_A_TIME / 1e6:g} megapixels at a time",
    ):
        assert told in text


def test_a_thousand_hostile_uploads_get_an_answer_or_a_reason():
    script = Path(__file__).parent.parent / "hostile_uploads.py"
    command = [sys.executable, script, "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["without_answer_or_reason"] == []
    assert sum(report["statuses"].values()) == 1000
    assert set(report["statuses"]) <= {"200", "400", "413", "415", "422"}
    assert report["memory_growth"] < 0.1
