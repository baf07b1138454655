"""The panel shows a prediction or a reason for every photo, and keeps no photo."""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from ipywidgets import Widget
from PIL import ExifTags, Image

from cifar_utils.apps.widget.card import KEPT_SIDE, ResultCard
from cifar_utils.apps.widget.html import render_error_html, render_prediction_html
from cifar_utils.apps.widget.panel import MAX_RESULTS, show_classifier
from cifar_utils.data import load_dataset
from cifar_utils.inference.classifier import Classifier, Prediction
from cifar_utils.inference.crops import square_at
from cifar_utils.inference.samples import list_samples

NAMES = ("cat", "dog", "airplane", "automobile", "bird", "deer", "frog", "horse", "ship", "truck")
PREDICTION = Prediction(NAMES, (0.9, 0.05, *[0.00625] * 8), np.full((32, 32, 3), 7, np.uint8))


class FakeSource(str):
    synthetic = False


class FakeClassifier:
    """Predicts "cat" for everything, unless told to fail."""

    class_names, source = NAMES, FakeSource("run r, recipe quick")

    def __init__(self, error=None):
        self.error, self.seen = error, []

    def predict(self, image):
        self.seen.append(image.size)
        if self.error:
            raise self.error
        return PREDICTION


def text_of(page):
    """Return the text of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def photo(size=(640, 480), kind="JPEG"):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def wide_photo():
    """A JPEG, wider than it is high, of a camera that was held on its side."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    cat = Image.open(list_samples()["cat"])
    cat.transpose(Image.Transpose.ROTATE_90).resize((900, 1350)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def upload(panel, **files):
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


def drop(panel, content, name="a.jpg", left=0, identity="1"):
    """Send a file by the messages of the drop zone's front end, in pieces."""
    for offset in range(0, len(content), 1000):
        about = {"kind": "piece", "id": identity, "name": name, "offset": offset, "left": left}
        piece = memoryview(content[offset : offset + 1000])
        panel.inputs.drop.receive(about | {"size": len(content)}, [piece])


def shown(panel):
    """Return the HTML of the predictions and errors, newest first."""
    return [getattr(child, "answer", child).value for child in panel.results.children]


@pytest.fixture
def panel():
    return show_classifier(FakeClassifier())


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


@pytest.fixture(params=["core widgets", "own parts"])
def real_panel(request, classifier):
    """Return a panel of the shipped network, in a front end with and without our own parts."""
    panel = show_classifier(classifier, data=load_dataset("synthetic"))
    panel.own_parts = request.param == "own parts"
    if panel.own_parts:
        panel.inputs.drop.receive({"kind": "ready"})
    return panel


def test_photos_are_classified_and_a_bad_file_leaves_the_others_alone(panel):
    letter = b"Dear Sir or Madam"
    upload(panel, **{"my cat.jpg": photo(), "letter.png": letter, "b.png": photo(kind="PNG")})
    newest_first = [text_of(text) for text in shown(panel)]
    assert "b.png" in newest_first[0]
    assert "letter.png was not classified" in newest_first[1]
    assert "text" in newest_first[1]
    assert "my cat.jpg : cat, 90.0%" in newest_first[2]
    assert "dog 5.0%" in newest_first[2]
    assert "2 of 3 classified. 1 not" in panel.status.value


def test_both_forms_of_upload_value_are_read(panel):
    panel.inputs.on_upload({"new": ({"name": "eight.jpg", "content": memoryview(photo())},)})
    panel.inputs.on_upload({"new": {"seven.jpg": {"content": photo()}}})
    assert ["seven.jpg" in text for text in shown(panel)] == [True, False]
    panel.inputs.on_upload({"new": ({"unexpected": 1},)})
    assert "The upload was not classified" in shown(panel)[0]


def test_no_widget_keeps_an_uploaded_photo(panel):
    data = photo(size=(1200, 900))
    upload(panel, **{"me.jpg": data})
    assert not panel.inputs.upload.value
    assert data[:4000] not in repr(panel.inputs.upload.get_state()).encode("latin-1", "replace")
    embedded = re.findall(r"base64,([^\"]+)", shown(panel)[0])
    sizes = [Image.open(io.BytesIO(base64.b64decode(part))).size for part in embedded]
    assert sizes == [(192, 144), (32, 32)]
    upload(panel, **{"me.jpg": data})  # the same file again is a new upload
    assert len(shown(panel)) == 2


def test_an_unexpected_error_shows_its_reason_and_a_next_step():
    panel = show_classifier(FakeClassifier(RuntimeError("out of <memory>")))
    upload(panel, **{"a.jpg": photo()})
    text = text_of(shown(panel)[0])
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


def test_samples_and_test_images(monkeypatch, tmp_path):
    path = tmp_path / "frog.png"
    path.write_bytes(photo(kind="PNG"))
    data = load_dataset("synthetic")
    panel = show_classifier(FakeClassifier(), [path, ("mine", PREDICTION.view)], data)
    for name in ("frog.png", "mine"):
        panel.inputs.samples.value = name
        assert name in shown(panel)[0]
    for number, words in (
        (7, f"synthetic test image 7 ({data.class_names[data.test_labels[7]]})"),
        (5000, "0 to 999"),
    ):
        panel.inputs.number.value = number
        panel.inputs.number_button.click()
        assert words in shown(panel)[0]
    panel = show_classifier(FakeClassifier(), [3])
    assert "The list of samples" in shown(panel)[0]
    upload(panel, **{"a.jpg": photo()})  # all the same
    assert "cat" in shown(panel)[0]
    monkeypatch.setattr("cifar_utils.apps.widget.panel.load_local_dataset", lambda: None)
    panel.inputs.number_button.click()
    assert "python -m cifar_utils data" in shown(panel)[0]


def test_old_results_make_room(panel):
    for _ in range(MAX_RESULTS + 3):
        upload(panel, **{"a.png": photo((8, 8), "PNG")})
    assert len(shown(panel)) == MAX_RESULTS
    assert f"({MAX_RESULTS + 3})" in panel.table.value


def test_the_model_and_the_limit_of_uploads_are_shown(panel):
    text = "".join(child.value for child in panel.inputs.children[1].children[1:])
    assert "10 MB" in text
    assert "run r, recipe quick" in panel.children[0].value
    assert "border" not in panel.children[0].value
    synthetic = FakeClassifier()
    synthetic.source = FakeSource("SYNTHETIC")
    synthetic.source.synthetic = True
    assert "border" in show_classifier(synthetic).children[0].value


def test_what_is_shown_can_be_read_aloud_and_names_cannot_inject_html():
    evil = '"><script>alert(1)</script>.jpg'
    page = render_error_html(evil, ValueError("<b>"))
    page += render_prediction_html(PREDICTION, evil, Image.new("RGB", (5000, 2)), top=3)
    assert "<script" not in page
    assert text_of(page).count(evil) == 2
    assert text_of(page).endswith("cat 90.0% dog 5.0% airplane 0.6%")
    assert len(re.findall('<img alt="[^"]+"', page)) == page.count("<img") == 2
    assert re.findall('<th scope="(col|row)"', page) == ["col", "col", "row", "row", "row"]


def test_files_come_in_pieces_and_several_at_once(panel):
    core = panel.inputs.children[1]
    assert core.layout.display is None
    panel.inputs.drop.receive({"kind": "ready"})
    assert core.layout.display == "none"
    drop(panel, photo(), "first.jpg", left=1)
    assert "classified" not in panel.status.value
    drop(panel, photo(), "second.jpg", identity="2")
    assert "2 of 2 classified" in panel.status.value
    assert ["second.jpg" in text for text in shown(panel)] == [True, False]
    card = panel.results.children[0]
    assert "base64" in card.answer.value
    assert "base64" not in repr(card.answer.get_state())  # what Jupyter may save


def test_pieces_that_do_not_fit_are_refused_and_forgotten(panel):
    zone = panel.inputs.drop
    about = {"kind": "piece", "id": "1", "name": "a.jpg", "size": 3000, "left": 0}
    zone.receive(about | {"offset": 0}, [memoryview(bytes(1000))])
    zone.receive(about | {"offset": 2000}, [memoryview(bytes(1000))])
    assert "did not arrive whole" in shown(panel)[0]
    zone.receive(about | {"id": "2", "size": 25_000_001, "offset": 0}, [memoryview(bytes(10))])
    assert "did not arrive whole" in shown(panel)[0]
    zone.receive(about | {"id": "3", "offset": 0}, [memoryview(bytes(1000))])
    zone.receive({"kind": "cancelled", "id": "3"})
    assert not zone.arriving
    zone.receive({"kind": "refused", "name": "b.jpg", "reason": "It is a folder.", "left": 0})
    assert "b.jpg was not classified. It is a folder." in text_of(shown(panel)[0])
    assert "0 of 1 classified. 1 not" in panel.status.value


def test_a_card_opens_one_closer_look_at_a_time(real_panel):
    before_all = set(Widget.get_manager_state()["state"])
    upload(real_panel, **{"cat.jpg": wide_photo()})
    (card,) = real_panel.results.children
    assert isinstance(card, ResultCard)
    assert max(card.photo.size) == KEPT_SIDE
    card.heat_button.value = True
    (heat,) = card.details.children
    assert "what spoke for <b>cat" in heat.value
    card.crop_button.value = True
    assert not card.heat_button.value
    *picker, sliders, answer = card.details.children
    assert bool(picker) == real_panel.own_parts
    # It opens where the prediction came from.
    percent = float(re.search(r"cat, ([\d.]+)%", text_of(answer.value)).group(1))
    assert abs(percent - 100 * card.prediction.confidence) < 1
    across, down, size = (slider.value / 100 for slider in sliders.children)
    box = square_at(1350, 900, (across, down), size)
    np.testing.assert_allclose(box, card.prediction.box, atol=3)
    before = answer.value
    assert "This part" in before
    sliders.children[2].value = 40
    assert answer.value != before
    if picker:
        assert picker[0].size == 40
        picker[0].across = 10
        assert sliders.children[0].value == 10
    card.why_button.value = True
    text = text_of(card.details.children[0].value)
    for words in ("on its side", "upside down: ", "bottom right: ", "1350 x 900", "similar pixels"):
        assert words in text
    card.why_button.value = False
    assert card.details.children == ()
    assert len(shown(real_panel)) == 1  # nothing failed on the way
    card.crop_button.value = True
    real_panel.clear_button.click()
    # What was opened and forgotten is in no widget any more, nor a slider that was tied to it.
    state = Widget.get_manager_state()["state"]
    left = {key: value for key, value in state.items() if key not in before_all}
    assert "data:image" not in json.dumps(left, default=str)
    assert not [value for value in left.values() if value["model_name"] == "FloatSliderModel"]


def test_the_heat_map_is_that_of_the_pixels_that_were_classified(classifier, monkeypatch):
    """A strip so long that its reduced copy would be a thumbnail, and classified whole."""
    strip, buffer = Image.new("RGB", (8000, 400), (90, 120, 160)), io.BytesIO()
    strip.paste(Image.open(list_samples()["cat"]).resize((400, 400)), (0, 0))
    strip.putalpha(0)
    strip.save(buffer, "PNG")
    panel = show_classifier(classifier)
    upload(panel, **{"strip.png": buffer.getvalue()})
    assert "transparent" in text_of(shown(panel)[0])  # what was guessed about the photo
    (card,) = panel.results.children
    seen, compute = [], classifier.compute_probs
    monkeypatch.setattr(
        classifier,
        "compute_probs",
        lambda images, kind: seen.append(images[0]) or compute(images, kind),
    )
    card.heat_button.value = True
    assert card.details.children
    np.testing.assert_array_equal(seen[0], card.prediction.view)


def test_a_closer_look_that_fails_says_why(panel):
    upload(panel, **{"a.jpg": photo()})
    (card,) = panel.results.children
    card.heat_button.value = True  # the stand-in has no `compute_probs`
    assert card.details.children == ()
    assert "AttributeError" in shown(panel)[0]


def test_predictions_become_a_table_and_a_spreadsheet_and_are_forgotten(panel):
    upload(panel, **{"a.jpg": photo(), "=b & c.jpg": b"text"})
    text = text_of(panel.table.value)
    for words in (
        "All answers as a table (2)",
        "=b & c.jpg",
        "for programs: python -m cifar_utils",
    ):
        assert words in text
    data = base64.b64decode(re.search('base64,([^"]+)"', panel.table.value).group(1))
    assert data.startswith(b"\xef\xbb\xbf")  # or Excel breaks accented names
    lines = data.decode("utf-8-sig").splitlines()
    assert lines[1] == '"a.jpg","","cat",0.9,"dog",0.05,"airplane",0.00625,"",""'
    assert lines[2].startswith('"\'=b & c.jpg"')  # and does not compute this
    cards = panel.results.children
    panel.clear_button.click()
    assert panel.results.children == ()
    assert not panel.table.value
    assert "All forgotten" in panel.status.value
    assert all(card.comm is None for card in cards)  # closed, so that no photo stays in memory
