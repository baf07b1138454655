"""The page and its API: what people and programs send, and what they are told."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_utils.apps.web.app import create_app
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.explain import compute_heat_map, draw_heat_map
from cifar_utils.inference.images import MAX_BYTES
from cifar_utils.inference.samples import list_samples

CAT, COFFEE = list_samples()["cat"], list_samples()["coffee"]
FORM = {"content_type": "multipart/form-data"}
TEXT = ("notes.txt", b"hello, this is text")


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


@pytest.fixture(scope="module")
def client(classifier, tmp_path_factory):
    """A client of the application, with a folder of two photos: a cat, a cup of coffee."""
    path = tmp_path_factory.mktemp("web") / "Images"
    path.mkdir()
    for sample in (CAT, COFFEE):
        shutil.copy(sample, path)
    return create_app(classifier, path).test_client()


def upload(*files, field="file"):
    """Return form data with files: paths, or `(name, bytes)`."""
    pairs = [(file.name, file.read_bytes()) if isinstance(file, Path) else file for file in files]
    return {field: [(io.BytesIO(data), name) for name, data in pairs]}


def encode(width, height, kind="PNG", mode="RGB"):
    """Return a black photo's bytes."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind)
    return buffer.getvalue()


def open_data_url(text):
    """Return the image of a data URL."""
    return Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2])))


def test_the_page_lists_the_folder_as_thumbnails_with_a_button(client):
    page = client.get("/")
    assert re.findall(r'name="image" value="([^"]+)"', page.text) == ["cat.jpg", "coffee.jpg"]
    for address in re.findall(r'src="(/thumbnails/[^"]+)"', page.text):
        thumbnail = client.get(address.replace("&amp;", "&"))
        image = Image.open(io.BytesIO(thumbnail.data))
        assert (image.format, max(image.size)) == ("JPEG", 320)
        assert "immutable" in thumbnail.headers["Cache-Control"]
    assert ">Predict</button>" in page.text


def test_scripts_and_styles_come_from_the_app_itself(client):
    for address in ("/", "/api", "/nowhere"):
        text = client.get(address).text
        assert not re.search(r'(src|href|action)="(https?:)?//', text), address
        assert not re.search(r"<style|<script>|\sstyle=|\son\w+=", text), address
        for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
            assert client.get(path).status_code == 200


def test_without_javascript_the_page_shows_the_answers(client):
    data = upload(COFFEE, TEXT) | {"image": "cat.jpg", "heat_map": "1"}
    page = client.post("/predict", data=data, **FORM)
    assert page.status_code == 200
    assert re.search(r'data-slot="label">cat<', page.text)
    assert 'class="heat"' in page.text
    assert "data:image/png;base64," in page.text  # the 32×32 view
    assert '<li class="card answer unsure">' in page.text
    assert "notes.txt</bdi> was not classified" in page.text
    nothing = client.post("/predict", data={"heat_map": "1"}, **FORM)
    assert (nothing.status_code, "Choose one" in nothing.text) == (400, True)
    assert client.get("/predict").location == "/"


def test_samples_are_offered_where_the_folder_has_nothing(classifier, tmp_path):
    client = create_app(classifier, tmp_path / "nowhere").test_client()
    page = client.get("/")
    assert str(tmp_path / "nowhere") in page.text
    assert 'name="sample" value="cat"' in page.text
    assert client.get("/samples/cat").data == CAT.read_bytes()
    assert client.get("/samples/../cat").status_code == 404
    answer = client.post("/predict", data={"sample": ["cat", "../x"]}, **FORM)
    assert re.search(r'data-slot="label">cat<', answer.text)


def test_uploads_and_photos_of_the_folder_go_together(client):
    data = upload(COFFEE, TEXT) | {"image": ["cat.jpg", "gone.png"]}
    answer = client.post("/api/predict", data=data)
    assert answer.status_code == 200
    rows = answer.get_json()["pictures"]
    assert [row["name"] for row in rows] == ["coffee.jpg", "notes.txt", "cat.jpg", "gone.png"]
    assert "text" in rows[1]["error"]
    assert rows[2]["label"] == "cat"
    assert "gone.png" in rows[3]["error"]


def test_the_apis_answer_is_that_of_the_classifier(client, classifier):
    row = client.post("/api/predict?top=4", data=upload(CAT)).get_json()["pictures"][0]
    expected = classifier.predict(CAT)
    shared = expected.to_dict("cat.jpg", 4)
    assert (row["name"], row["label"]) == (shared.pop("picture"), "cat")
    assert shared.items() <= row.items()
    assert row["box"] == list(expected.box)
    view = open_data_url(row["view"])
    assert (view.size, view.tobytes()) == ((32, 32), expected.view.tobytes())
    for kind in ("image/jpeg", "application/octet-stream"):  # the photo as the body
        answer = client.post("/api/predict", data=CAT.read_bytes(), content_type=kind)
        assert answer.get_json()["pictures"][0]["label"] == "cat"
    clear = client.post("/api/predict", data=upload(("a.png", encode(64, 64, mode="RGBA"))))
    assert "transparent" in clear.get_json()["pictures"][0]["note"]


def test_fields_go_by_their_usual_names_and_others_are_named(client):
    for field in ("images", "file[0]", "Photo"):
        answer = client.post("/api/predict", data=upload(CAT, field=field) | {"top": "1"})
        (row,) = answer.get_json()["pictures"]
        assert row["classes"] == [{"class": "cat", "probability": row["probability"]}]
    for data in (upload(CAT, field="foto"), {"foto": "x"}, {"file": "cat.jpg"}):  # no @ for curl
        answer = client.post("/api/predict", data=data, **FORM)
        assert answer.status_code == 400
        assert re.search("'(foto|file)'.*'file'", answer.get_json()["error"])
    answer = client.post("/api/predict", data={"file": "x" * 200_000}, **FORM)
    assert (answer.status_code, "file name" in answer.text) == (413, True)


def test_photo_and_heat_map_are_laid_over_each_other(client, classifier):
    address = "/api/predict?heat_map=true&picture=1"
    row = client.post(address, data=upload(CAT)).get_json()["pictures"][0]
    picture, heat = open_data_url(row["picture"]), open_data_url(row["heat_map"])
    assert picture.size == heat.size
    assert max(picture.size) <= 512
    left, _, right, _ = row["box"]
    saturation = np.ptp(np.asarray(heat.convert("RGB"), int), axis=2)
    assert saturation[:, : left - 8].max() < 24  # grey outside of what the network was given
    assert saturation[:, left:right].max() > 50
    expected = draw_heat_map(CAT, compute_heat_map(classifier, CAT))  # as the widget shows it
    difference = np.asarray(heat, int) - np.asarray(expected, int)
    assert np.abs(difference).mean() < 3  # JPEG


@pytest.mark.parametrize(
    ("address", "fields", "status", "reason"),
    [
        ("", {"file": (io.BytesIO(b""), "")}, 400, "There is no photo"),
        ("?top=0", upload(CAT), 400, "'0'"),
        ("?top=²", upload(CAT), 400, "9, 10"),
        ("?heat_map=maybe", upload(CAT), 400, "'maybe'"),
        ("", {"image": "../cat.jpg"}, 404, "../cat.jpg"),
        ("", upload(*[("a.png", b"x")] * 21), 422, "21 photos"),
        ("", upload(("a.png", b"")), 422, "empty"),
        ("", upload(("a.png", bytes(MAX_BYTES + 1))), 413, "25 MB"),
        ("", upload(("a.png", encode(9000, 8000, mode="1"))), 422, "64 megapixels"),
        ("", upload(("a.png", encode(3000, 3000)[:5000])), 422, "damaged"),
        ("", upload(("a.ppm", b"P3 2 2 255 " + b"#\n" * 10_000 + b"0 " * 12)), 422, "comments"),
        ("", upload(("a.jpg", encode(9, 9, "JPEG") + b"\xff\xda\0\0" * 900)), 422, "901 scans"),
    ],
)
def test_what_cannot_be_answered_is_a_4xx_with_a_reason(client, address, fields, status, reason):
    answer = client.post(f"/api/predict{address}", data=fields, **FORM)
    assert (answer.status_code, answer.content_type) == (status, "application/json")
    assert reason in answer.text.encode().decode("unicode_escape")


def test_errors_are_pages_for_people_and_json_for_programs(client):
    for kind in ("application/json", ""):
        assert client.post("/api/predict", data=b"{}", content_type=kind).status_code == 415
    files = ("a.png", bytes(MAX_BYTES)), ("b.png", bytes(MAX_BYTES // 4))
    for address in ("/api/predict", "/predict"):
        answer = client.post(address, data=upload(*files))
        assert (answer.status_code, "at most 30 MB" in answer.text) == (413, True)
    page = client.get("/nowhere")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "error" in client.get("/api/nowhere").get_json()
    answer = client.get("/api/predict")
    assert (answer.status_code, answer.mimetype) == (405, "application/json")
    assert "POST" in answer.headers["Allow"]


def test_a_fault_of_ours_shows_no_trace(client, monkeypatch, caplog):
    monkeypatch.setattr("cifar_utils.apps.web.app.list_samples", lambda: 1 / 0)
    monkeypatch.setattr("cifar_utils.apps.web.app.read_options", lambda query: 1 / 0)
    for answer in (client.post("/api/predict", data=upload(CAT)), client.get("/samples/x")):
        assert answer.status_code == 500
        assert "Something went wrong" in answer.text
        assert "ZeroDivision" not in answer.text
    assert "ZeroDivisionError" in caplog.text  # the log has it


def test_every_answer_has_the_security_headers(client):
    answers = [client.get(a) for a in ("/", "/nowhere", "/healthz", "/static/page.css")]
    answers.append(client.post("/api/predict", data=upload(CAT)))
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answers[-1].headers["Cache-Control"] == "no-store"


def test_on_this_machine_only_this_machines_names_are_right(client, classifier):
    for_all = create_app(classifier, "nowhere", allowed_hosts=None).test_client()
    for host in ("localhost:5678", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
    others = "evil.example", "localhost.evil.example:5678", "127.0.0.1@evil.example", "[", ""
    for host in others:
        assert client.get("/healthz", headers={"Host": host}).status_code == 403, host
        assert for_all.get("/healthz", headers={"Host": host}).status_code == 200, host


def test_another_site_cannot_post_through_a_persons_browser(client):
    address, data = "/api/predict", {"image": "cat.jpg"}
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
    for headers in ({}, own, {"Origin": "http://localhost"}):  # the first is a program
        assert client.post(address, data=data, headers=headers, **FORM).status_code == 200
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ):
        for path in (address, "/predict"):
            assert client.post(path, data=data, headers=headers, **FORM).status_code == 403


@pytest.mark.parametrize("name", ["<b>x</b>.png", '"><script>alert(1)</script>', "a\u202eb.png"])
def test_names_are_shown_as_text(client, name):
    page = client.post("/predict", data=upload((name, b"x")))
    assert page.status_code == 422
    assert "<b>" not in page.text
    assert "<script>alert" not in page.text


def test_a_model_that_knows_drawings_only_says_so_loudly(classifier, monkeypatch):
    source = type(classifier.source)(Path("x.keras"), {}, "a-run", "quick", "synthetic")
    monkeypatch.setattr(classifier, "source", source)
    client = create_app(classifier).test_client()
    assert "Trained on synthetic data, not CIFAR-10" in client.get("/").text
    assert client.get("/healthz").get_json()["synthetic"] is True


def test_health_and_metrics(classifier):
    client = create_app(classifier, "nowhere").test_client()
    health = client.get("/healthz").get_json()
    assert (health["status"], health["calibrated"]) == ("ok", True)
    client.post("/api/predict", data=upload(CAT, COFFEE, TEXT))
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
