"""The panel shows an answer or a reason for every picture, and keeps no picture."""

import base64
import io
import re
import types
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cifar_utils.inference import Prediction
from cifar_utils.model_files import ModelSource
from cifar_utils.prediction_html import render_error_html, render_prediction_html
from cifar_utils.widget import MAX_RESULTS, show_classifier

NAMES = ("cat", "dog", "airplane", "automobile", "bird", "deer", "frog", "horse", "ship", "truck")
PREDICTION = Prediction(NAMES, (0.9, 0.05, *[0.00625] * 8), np.full((32, 32, 3), 7, np.uint8))


class FakeClassifier:
    """Answers "cat" to everything, unless told to fail."""

    source = ModelSource("outputs/runs/r/model.keras", {}, "r", "quick", "cifar10")

    def __init__(self, error=None):
        self.error = error
        self.seen = []

    def predict(self, image):
        self.seen.append(image.size)
        if self.error:
            raise self.error
        return PREDICTION


def photo(size=(640, 480), kind="JPEG"):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def panel():
    return show_classifier(FakeClassifier())


def drop(panel, **files):
    """Upload files by the message that the front end of the installed ipywidgets sends."""
    if isinstance(panel.upload.value, dict):  # ipywidgets 7
        metadata = [{"name": name} for name in files]
        data = [memoryview(content) for content in files.values()]
        counter = panel.upload._counter + len(files)
        panel.upload.set_state({"metadata": metadata, "data": data, "_counter": counter})
    else:
        about = {"type": "image/jpeg", "last_modified": 0}
        entries = [
            {"name": name, "size": len(content), "content": memoryview(content), **about}
            for name, content in files.items()
        ]
        panel.upload.set_state({"value": entries})


def shown(panel):
    return [child.value for child in panel.results.children]


class Page(HTMLParser):
    """Collects the tags and the text of some HTML, and refuses unbalanced tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_a_dropped_photo_is_answered(panel):
    drop(panel, **{"my cat.jpg": photo()})
    (answer,) = shown(panel)
    text = Page(answer).text
    assert "my cat.jpg" in text
    assert "cat, 90.0%" in text
    assert "dog 5.0%" in text
    assert "1 of 1 classified" in panel.status.value


def test_a_bad_file_leaves_the_others_alone(panel):
    drop(
        panel, **{"a.jpg": photo(), "letter.png": b"Dear Sir or Madam", "b.png": photo(kind="PNG")}
    )
    newest_first = [Page(text).text for text in shown(panel)]
    assert "b.png" in newest_first[0]
    assert "letter.png was not classified" in newest_first[1]
    assert "not a picture but text" in newest_first[1]
    assert "a.jpg" in newest_first[2]
    assert "2 of 3 classified. 1 not" in panel.status.value


def test_both_forms_of_upload_value_are_read():
    for value in (
        ({"name": "eight.jpg", "content": memoryview(photo())},),
        {"seven.jpg": {"metadata": {"name": "seven.jpg"}, "content": photo()}},
    ):
        panel = show_classifier(FakeClassifier())
        panel.on_upload({"new": value})
        assert "cat, 90.0%" in shown(panel)[0]
        assert re.search("eight.jpg|seven.jpg", shown(panel)[0])


def test_no_widget_keeps_an_uploaded_picture(panel):
    data = photo(size=(1200, 900))
    drop(panel, **{"me.jpg": data})
    assert not panel.upload.value
    assert data[:4000] not in repr(panel.upload.get_state()).encode("latin-1", "replace")
    embedded = re.findall(r"base64,([^\"]+)", shown(panel)[0])
    sizes = [Image.open(io.BytesIO(base64.b64decode(part))).size for part in embedded]
    assert sizes == [(192, 144), (32, 32)]
    drop(panel, **{"me.jpg": data})  # the same file again is a new upload
    assert len(shown(panel)) == 2


def test_an_upload_that_cannot_be_read_is_said_and_forgotten(panel):
    panel.on_upload({"new": ({"unexpected": 1},)})
    assert "The upload was not classified" in shown(panel)[0]
    assert not panel.upload.value


def test_an_unexpected_error_shows_its_reason_and_a_next_step():
    panel = show_classifier(FakeClassifier(RuntimeError("out of <memory>")))
    drop(panel, **{"a.jpg": photo()})
    text = Page(shown(panel)[0]).text
    assert "RuntimeError: out of <memory>" in text
    assert "python -m cifar_utils doctor" in text


def test_a_path_works_by_button_and_by_enter(panel, tmp_path):
    path = tmp_path / "ship & co.png"
    path.write_bytes(photo(kind="PNG"))
    panel.path.value = f' "{path}" '
    panel.path_button.click()
    panel.path._handle_string_msg(panel.path, {"event": "submit"}, [])
    assert len(shown(panel)) == 2
    assert all("ship &amp; co.png" in text for text in shown(panel))
    panel.path.value = str(tmp_path / "none.png")
    panel.path_button.click()
    assert "There is no file" in shown(panel)[0]
    panel.path.value = ""
    panel.path_button.click()
    assert len(shown(panel)) == 3
    assert "path" in panel.status.value


def test_samples_are_listed_and_answered(tmp_path):
    path = tmp_path / "frog.png"
    path.write_bytes(photo(kind="PNG"))
    panel = show_classifier(FakeClassifier(), [path, ("test image 17", PREDICTION.view)])
    assert panel.samples in panel.children
    for name in ("frog.png", "test image 17"):
        panel.samples.value = name
        assert name in shown(panel)[0]
    assert show_classifier(FakeClassifier()).samples not in panel.children


def test_broken_samples_do_not_break_the_panel():
    panel = show_classifier(FakeClassifier(), [3])
    assert "The list of samples" in shown(panel)[0]
    drop(panel, **{"a.jpg": photo()})
    assert "cat" in shown(panel)[0]


def test_old_results_make_room(panel):
    for _ in range(MAX_RESULTS + 3):
        panel.on_upload({"new": ({"name": "a.png", "content": photo((8, 8), "PNG")},)})
    assert len(shown(panel)) == MAX_RESULTS


def test_the_limit_and_the_model_stand_in_the_panel(panel):
    text = " ".join(getattr(child, "value", "") for child in panel.children)
    assert "10 MB" in text
    assert "path" in text
    assert "run r, recipe quick" in text
    synthetic = FakeClassifier()
    synthetic.source = ModelSource("m.keras", {}, "r", "quick", "synthetic")
    assert "SYNTHETIC" in show_classifier(synthetic).children[0].value


def test_names_cannot_inject_html():
    evil = '"><script>alert(1)</script>.jpg'
    page = Page(
        render_prediction_html(PREDICTION, evil, Image.new("RGB", (9, 9)))
        + render_error_html(evil, ValueError("<b>"))
    )
    assert "script" not in {tag for tag, _ in page.tags}
    assert evil in page.text


def test_a_prediction_reads_without_seeing():
    page = Page(render_prediction_html(PREDICTION, "a.png", Image.new("RGB", (5000, 2)), k=3))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [bool(attrs["alt"]) for attrs in images] == [True, True]
    assert "pixelated" in images[1]["style"]
    assert page.text.endswith("cat 90.0% dog 5.0% airplane 0.6%")
    scopes = [attrs.get("scope") for tag, attrs in page.tags if tag == "th"]
    assert scopes == ["col", "col", "row", "row", "row"]


def test_the_newest_run_is_the_default(monkeypatch):
    loaded = FakeClassifier()
    stand_in = types.SimpleNamespace(load=lambda: loaded)
    monkeypatch.setattr("cifar_utils.widget.Classifier", stand_in)
    drop(panel := show_classifier(), **{"a.jpg": photo()})
    assert loaded.seen == [(640, 480)]
    assert "cat" in shown(panel)[0]
