"""The panel shows an answer or a reason for every picture, and keeps no picture."""

import base64
import io
import json
import re
import types
from html.parser import HTMLParser

import numpy as np
import pytest
from ipywidgets import Widget
from PIL import ExifTags, Image

from cifar_utils.apps.widget.card import KEPT_SIDE, ResultCard
from cifar_utils.apps.widget.html import render_error_html, render_prediction_html
from cifar_utils.apps.widget.panel import MAX_RESULTS, show_classifier
from cifar_utils.data import load_dataset
from cifar_utils.inference.classifier import Classifier, Prediction
from cifar_utils.inference.crops import SMALLEST_SCENE, square_at
from cifar_utils.inference.images import describe_orientation
from cifar_utils.inference.samples import list_samples
from cifar_utils.inference.sources import ModelSource

NAMES = ("cat", "dog", "airplane", "automobile", "bird", "deer", "frog", "horse", "ship", "truck")
PREDICTION = Prediction(NAMES, (0.9, 0.05, *[0.00625] * 8), np.full((32, 32, 3), 7, np.uint8))


class FakeClassifier:
    """Answers "cat" to everything, unless told to fail."""

    source = ModelSource("outputs/runs/r/model.keras", {}, "r", "quick", "cifar10")

    def __init__(self, error=None):
        self.error = error
        self.seen = []

    class_names = NAMES

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
    if isinstance(panel.inputs.upload.value, dict):  # ipywidgets 7
        metadata = [{"name": name} for name in files]
        data = [memoryview(content) for content in files.values()]
        counter = panel.inputs.upload._counter + len(files)
        panel.inputs.upload.set_state({"metadata": metadata, "data": data, "_counter": counter})
    else:
        about = {"type": "image/jpeg", "last_modified": 0}
        entries = [
            {"name": name, "size": len(content), "content": memoryview(content), **about}
            for name, content in files.items()
        ]
        panel.inputs.upload.set_state({"value": entries})


def shown(panel):
    """Return the HTML of the answers and errors, newest first."""
    return [getattr(child, "answer", child).value for child in panel.results.children]


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
        panel.inputs.on_upload({"new": value})
        assert "cat, 90.0%" in shown(panel)[0]
        assert re.search("eight.jpg|seven.jpg", shown(panel)[0])


def test_no_widget_keeps_an_uploaded_picture(panel):
    data = photo(size=(1200, 900))
    drop(panel, **{"me.jpg": data})
    assert not panel.inputs.upload.value
    assert data[:4000] not in repr(panel.inputs.upload.get_state()).encode("latin-1", "replace")
    embedded = re.findall(r"base64,([^\"]+)", shown(panel)[0])
    sizes = [Image.open(io.BytesIO(base64.b64decode(part))).size for part in embedded]
    assert sizes == [(192, 144), (32, 32)]
    drop(panel, **{"me.jpg": data})  # the same file again is a new upload
    assert len(shown(panel)) == 2


def test_an_upload_that_cannot_be_read_is_said_and_forgotten(panel):
    panel.inputs.on_upload({"new": ({"unexpected": 1},)})
    assert "The upload was not classified" in shown(panel)[0]
    assert not panel.inputs.upload.value


def test_an_unexpected_error_shows_its_reason_and_a_next_step():
    panel = show_classifier(FakeClassifier(RuntimeError("out of <memory>")))
    drop(panel, **{"a.jpg": photo()})
    text = Page(shown(panel)[0]).text
    assert "RuntimeError: out of <memory>" in text
    assert "python -m cifar_utils doctor" in text


def test_a_path_works_by_button_and_by_enter(panel, tmp_path):
    path = tmp_path / "ship & co.png"
    path.write_bytes(photo(kind="PNG"))
    panel.inputs.path.value = f' "{path}" '
    panel.inputs.path_button.click()
    panel.inputs.path._handle_string_msg(panel.inputs.path, {"event": "submit"}, [])
    assert len(shown(panel)) == 2
    assert all("ship &amp; co.png" in text for text in shown(panel))
    panel.inputs.path.value = str(tmp_path / "none.png")
    panel.inputs.path_button.click()
    assert "There is no file" in shown(panel)[0]
    panel.inputs.path.value = ""
    panel.inputs.path_button.click()
    assert len(shown(panel)) == 3
    assert "path" in panel.status.value


def test_samples_are_listed_and_answered(tmp_path):
    path = tmp_path / "frog.png"
    path.write_bytes(photo(kind="PNG"))
    panel = show_classifier(FakeClassifier(), [path, ("test image 17", PREDICTION.view)])
    assert panel.inputs.samples in panel.inputs.children[-1].children
    for name in ("frog.png", "test image 17"):
        panel.inputs.samples.value = name
        assert name in shown(panel)[0]
    bare = show_classifier(FakeClassifier(), []).inputs
    assert bare.samples not in bare.children[-1].children
    assert show_classifier(FakeClassifier()).inputs.samples.options[1:] == ("cat.jpg", "coffee.jpg")


def test_broken_samples_do_not_break_the_panel():
    panel = show_classifier(FakeClassifier(), [3])
    assert "The list of samples" in shown(panel)[0]
    drop(panel, **{"a.jpg": photo()})
    assert "cat" in shown(panel)[0]


def test_old_results_make_room(panel):
    for _ in range(MAX_RESULTS + 3):
        panel.inputs.on_upload({"new": ({"name": "a.png", "content": photo((8, 8), "PNG")},)})
    assert len(shown(panel)) == MAX_RESULTS


def test_the_limit_and_the_model_stand_in_the_panel(panel):
    core = panel.inputs.children[1].children
    text = core[1].value + panel.children[0].value
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
    monkeypatch.setattr("cifar_utils.apps.widget.panel.Classifier", stand_in)
    drop(panel := show_classifier(), **{"a.jpg": photo()})
    assert loaded.seen == [(640, 480)]
    assert "cat" in shown(panel)[0]


def send(panel, content, name="a.jpg", size=None, piece=1000, left=0, identity="1"):
    """Send a file by the messages of the drop zone's front end."""
    for offset in range(0, len(content), piece):
        about = {"kind": "piece", "id": identity, "name": name, "offset": offset, "left": left}
        about["size"] = len(content) if size is None else size
        panel.inputs.drop._receive(None, about, [memoryview(content[offset : offset + piece])])


def ready(panel):
    """Report what a front end does that can run the drop zone."""
    panel.inputs.drop._receive(None, {"kind": "ready"}, [])


def test_a_file_comes_in_pieces_and_several_at_once(panel):
    content = photo()
    send(panel, content, "first.jpg", left=1)
    assert "classified" not in panel.status.value
    send(panel, content, "second.jpg", identity="2")
    assert "2 of 2 classified" in panel.status.value
    assert "second.jpg" in shown(panel)[0]
    assert "first.jpg" in shown(panel)[1]


def test_pieces_that_do_not_fit_are_refused_and_forgotten(panel):
    drop_zone = panel.inputs.drop
    about = {"kind": "piece", "id": "1", "name": "a.jpg", "size": 3000, "left": 0}
    drop_zone._receive(None, about | {"offset": 0}, [memoryview(bytes(1000))])
    drop_zone._receive(None, about | {"offset": 2000}, [memoryview(bytes(1000))])
    assert "did not arrive whole" in shown(panel)[0]
    huge = about | {"id": "2", "size": 25_000_001, "offset": 0}
    drop_zone._receive(None, huge, [memoryview(bytes(10))])
    assert "did not arrive whole" in shown(panel)[0]
    drop_zone._receive(None, about | {"id": "3", "offset": 0}, [memoryview(bytes(1000))])
    drop_zone._receive(None, {"kind": "cancelled", "id": "3"}, [])
    assert not drop_zone._arriving
    refused = {"kind": "refused", "name": "b.jpg", "reason": "It is a folder.", "left": 0}
    drop_zone._receive(None, refused, [])
    assert "b.jpg was not classified" in Page(shown(panel)[0]).text
    assert "0 of 1 classified. 1 not" in panel.status.value


def test_the_core_button_goes_once_the_drop_zone_runs(panel):
    core = panel.inputs.children[1]
    assert core.layout.display is None
    ready(panel)
    assert core.layout.display == "none"


def test_with_our_own_parts_no_state_holds_a_picture(panel):
    ready(panel)
    send(panel, photo(), "me.jpg")
    (card,) = panel.results.children
    assert "base64" in card.answer.value
    assert "base64" not in repr(card.answer.get_state())


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


def wide_photo():
    """A JPEG, wider than it is high, that says that the camera was held on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    cat = Image.open(list_samples()["cat"])
    cat.transpose(Image.Transpose.ROTATE_90).resize((900, 1350)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("own_parts", [False, True])
def test_a_card_opens_one_closer_look_at_a_time(classifier, own_parts):
    panel = show_classifier(classifier, data=load_dataset("synthetic"))
    if own_parts:
        ready(panel)
    drop(panel, **{"cat.jpg": wide_photo()})
    (card,) = panel.results.children
    assert isinstance(card, ResultCard)
    assert max(card._picture.size) == KEPT_SIDE
    card.heat_button.value = True
    (heat,) = card.details.children
    assert "what spoke for <b>cat" in heat.value
    card.crop_button.value = True
    assert not card.heat_button.value
    *picker, sliders, answer = card.details.children
    assert bool(picker) == own_parts
    before = answer.value
    assert "This part" in before
    sliders.children[2].value = 40
    assert answer.value != before
    if picker:
        assert picker[0].size == 40
        picker[0].across = 10
        assert sliders.children[0].value == 10
    card.why_button.value = True
    text = Page(card.details.children[0].value).text
    assert "the camera was held on its side" in text
    assert "upside down: " in text
    assert "bottom right: " in text
    assert "Of 1350 x 900 pixels" in text
    assert "most similar pixels" in text
    card.why_button.value = False
    assert card.details.children == ()
    assert len(shown(panel)) == 1  # nothing failed on the way


@pytest.mark.parametrize("own_parts", [False, True])
def test_what_was_opened_and_forgotten_is_in_no_widget_any_more(classifier, own_parts):
    panel = show_classifier(classifier, data=load_dataset("synthetic"))
    if own_parts:
        ready(panel)
    before = set(Widget.get_manager_state()["state"])
    drop(panel, **{"cat.jpg": wide_photo()})
    (card,) = panel.results.children
    for _ in range(2):
        for button in card._buttons():
            button.value = True
    panel._clear()
    state = Widget.get_manager_state()["state"]
    left = {key: value for key, value in state.items() if key not in before}
    assert "data:image" not in json.dumps(left, default=str)
    # Nor is a slider left that was tied to the picture.
    assert not [value for value in left.values() if value["model_name"] == "FloatSliderModel"]


def test_a_closer_look_is_at_what_the_answer_saw(classifier):
    """A strip so long that its smaller copy would be a thumbnail, taken whole."""
    strip = Image.new("RGB", (8000, 400), (90, 120, 160))
    strip.paste(Image.open(list_samples()["cat"]).resize((400, 400)), (0, 0))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG")
    panel = show_classifier(classifier)
    drop(panel, **{"strip.jpg": buffer.getvalue()})
    (card,) = panel.results.children
    said = card._prediction
    assert said.box[0] == 0
    assert min(card._picture.size) >= SMALLEST_SCENE
    seen = []
    card._classifier = types.SimpleNamespace(
        **{name: getattr(classifier, name) for name in ("class_names", "compute_probs")},
        predict=lambda image: seen.append(np.asarray(image)) or classifier.predict(image),
    )
    card.heat_button.value = True
    assert card.details.children
    np.testing.assert_array_equal(seen[0], said.view)


def test_the_crop_opens_where_the_answer_looked(classifier):
    panel = show_classifier(classifier)
    drop(panel, **{"cat.jpg": wide_photo()})
    (card,) = panel.results.children
    card.crop_button.value = True
    sliders, answer = card.details.children
    percent = float(re.search(r"cat, ([\d.]+)%", Page(answer.value).text).group(1))
    assert abs(percent - 100 * card._prediction.confidence) < 1
    across, down, size = (slider.value / 100 for slider in sliders.children)
    box = square_at(1350, 900, (across, down), size)
    np.testing.assert_allclose(box, card._prediction.box, atol=3)


def test_a_closer_look_that_fails_says_why():
    panel = show_classifier(FakeClassifier())
    drop(panel, **{"a.jpg": photo()})
    (card,) = panel.results.children
    card.heat_button.value = True  # the stand-in has no `compute_probs`
    assert card.details.children == ()
    assert "AttributeError" in shown(panel)[0]


def test_a_test_image_is_taken_by_its_number():
    data = load_dataset("synthetic")
    panel = show_classifier(FakeClassifier(), data=data)
    panel.inputs.number.value = 7
    panel.inputs.number_button.click()
    assert f"synthetic test image 7 ({data.class_names[data.test_labels[7]]})" in shown(panel)[0]
    panel.inputs.number.value = 5000
    panel.inputs.number_button.click()
    assert "The test images are 0 to 999." in shown(panel)[0]


def test_without_the_data_a_test_image_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("cifar_utils.apps.widget.panel.load_local_dataset", lambda: None)
    panel = show_classifier(FakeClassifier())
    panel.inputs.number_button.click()
    assert "python -m cifar_utils data" in shown(panel)[0]


def test_answers_become_a_table_and_csv_and_are_forgotten(panel):
    drop(panel, **{"a.jpg": photo(), "b & c.jpg": b"text"})
    table = panel.table.value
    assert "All answers as a table (2)" in table
    assert "b &amp; c.jpg" in table
    data = re.search('base64,([^"]+)', table).group(1)
    lines = base64.b64decode(data).decode().splitlines()
    assert lines[1] == "a.jpg,,cat,0.9,dog,0.05,airplane,0.00625,"
    assert lines[2].startswith("b & c.jpg,,,,,,,,")
    cards = panel.results.children
    panel.clear_button.click()
    assert panel.results.children == ()
    assert not panel.table.value
    assert "All forgotten" in panel.status.value
    assert all(card.comm is None for card in cards)  # closed, so that no picture stays in memory


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "does not say"), (1, "upright already"), (3, "upside down"), (8, "on its side")],
)
def test_the_orientation_of_a_file_is_told(number, words):
    exif, buffer = Image.Exif(), io.BytesIO()
    if number:
        exif[ExifTags.Base.Orientation] = number
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif)
    assert words in describe_orientation(buffer.getvalue())
    assert "does not say" in describe_orientation(np.zeros((8, 8, 3), np.uint8))
    assert "does not say" in describe_orientation(b"no picture")
