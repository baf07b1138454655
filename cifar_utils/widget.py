"""The notebook front of `Classifier`: drop a photo into a cell.

Core ipywidgets, 7 and 8, with three small parts of `front` where the front end can run them. The
panel finds that out by itself: until the drop zone has reported, the core upload button is there.
"""

import html
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as widgets

from cifar_utils.data import load_local_dataset
from cifar_utils.errors import CifarError, DataError
from cifar_utils.exploration import NearestImages
from cifar_utils.front import DropZone, Screen
from cifar_utils.inference import Classifier
from cifar_utils.pictures import MAX_BYTES, describe_orientation, open_picture
from cifar_utils.predict_command import describe_prediction, render_csv
from cifar_utils.prediction_html import (
    ERROR_COLOUR,
    TEXT_COLOUR,
    render_error_html,
    render_table_html,
)
from cifar_utils.result_card import ResultCard
from cifar_utils.samples import list_samples

CHOOSE = "choose…"
MAX_RESULTS = 20  # older results go, so that a long session does not fill the page
TOP = 3  # classes in the table
LIMIT_NOTE = (
    "This button can lose a file above about 10 MB (in Colab about 1 MB) without a word: that is "
    "the notebook server's limit; make lab and make app lift it to 100 MB. Give such a file's path "
    "instead, as the kernel sees it."
)
COLAB_NOTE = " In Colab, google.colab.files.upload() in a cell of its own puts files there."
NO_DATA = "CIFAR-10 is not on this machine. 'python -m cifar_utils data' says how to get it."


def show_classifier(classifier=None, samples: Iterable | None = None, data=None):
    """Build the panel in which a person classifies pictures.

    Args:
        classifier: A `Classifier`; None loads the weights that ship.
        samples: Pictures to pick from a list: paths, or pairs (name, picture); None takes those
            that ship with the package.
        data: A `data.Dataset` for test images and for the training images that are most alike;
            None takes CIFAR-10 when it is first asked for, if it is on this machine.

    Returns:
        A `ClassifierPanel`; as the last line of a cell it shows itself.

    Raises:
        CifarError: If there is no model to load; the message says how to make one.
    """
    classifier = Classifier.load() if classifier is None else classifier
    return ClassifierPanel(
        classifier, list_samples().values() if samples is None else samples, data
    )


class ClassifierPanel(widgets.VBox):
    """The ways in, and the results; made by `show_classifier`.

    Attributes:
        drop, upload, path, path_button, samples, number, number_button: The ways in.
        status: One line on what happened, announced by screen readers.
        results: One `ResultCard` or error per picture, newest first.
        table: All answers, with a link that saves them as CSV.
        clear_button: Forgets all pictures and answers.
    """

    def __init__(self, classifier, samples=(), data=None):
        super().__init__()
        self._classifier, self._data, self._nearest = classifier, data, None
        self._samples, self._rows, self._screen = {}, [], widgets.HTML
        self._tally = {"done": 0, "failed": 0}  # of the pictures that come together
        self.status, self.results = widgets.HTML(_status("No picture yet.")), widgets.VBox()
        self.table = widgets.HTML()
        self._make_ways_in()
        self.clear_button = widgets.Button(
            description="Forget all", tooltip="Forget all pictures and answers"
        )
        self._guard("The list of samples", lambda: self._add_samples(samples))
        self._connect()
        self._core = widgets.VBox([self.upload, _note(LIMIT_NOTE + _colab_note())])
        path = widgets.HBox([self.path, self.path_button])
        number = widgets.HBox([self.number, self.number_button])
        others = [path, *([self.samples] if self._samples else []), number]
        self.children = [
            widgets.HTML(_source_html(classifier.source)),
            self.drop,
            self._core,
            widgets.HBox(others, layout={"flex_flow": "wrap"}),
            self.status,
            self.results,
            widgets.HBox([self.table, self.clear_button], layout={"display": "none"}),
        ]

    def _make_ways_in(self):
        """Make the widgets through which a picture comes."""
        self.drop = DropZone(
            MAX_BYTES,
            on_file=lambda name, content, left: self._guard(
                name, lambda: self._classify_all([(name, content)], left)
            ),
            on_refusal=self._refuse,
            on_ready=self._use_front,
        )
        self.upload = widgets.FileUpload(
            accept="image/*,.heic,.heif,.avif",
            multiple=True,
            description="Upload pictures",
            tooltip="Upload pictures",
            layout={"width": "auto"},
        )
        self.path = widgets.Text(
            description="a path:", placeholder="photos/cat.jpg", layout={"width": "24em"}
        )
        self.path_button = widgets.Button(
            description="Classify", tooltip="Classify this path", layout={"width": "auto"}
        )
        self.samples = widgets.Dropdown(
            description="a sample:", options=[CHOOSE], layout={"width": "22em"}
        )
        self.number = widgets.BoundedIntText(
            description="test image:", min=0, max=9999, layout={"width": "14em"}
        )
        self.number_button = widgets.Button(
            description="Classify", tooltip="Classify this test image", layout={"width": "auto"}
        )

    def _connect(self):
        """Let every way in call its method."""
        self.upload.observe(self.on_upload, names="value")
        self.path_button.on_click(self.on_path)
        self.samples.observe(self.on_sample, names="value")
        self.number_button.on_click(self.on_number)
        self.clear_button.on_click(self.on_clear)
        with warnings.catch_warnings():
            # ipywidgets 8 would rather have `continuous_update=False` observed, but that also fires
            # when the field is left, and pressing Enter on the same path again does nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.path.on_submit(self.on_path)

    def on_upload(self, change):
        """Classify what was uploaded, and forget the files."""
        self._guard("The upload", lambda: self._classify_upload(change["new"]))

    def on_path(self, _=None):
        """Classify the file whose path was typed."""
        # Explorer's "Copy as path" and a dragged file come in quotes.
        text = self.path.value.strip().strip("\"'")
        if text:
            self._guard("The path", lambda: self._classify_all([(Path(text).name, text)]))
        else:
            self.status.value = _status("Type the path of a picture first.")

    def on_sample(self, change):
        """Classify the sample that was picked."""
        if change["new"] in self._samples:
            picked = (change["new"], self._samples[change["new"]])
            self._guard("The sample", lambda: self._classify_all([picked]))

    def on_number(self, _=None):
        """Classify the test image whose number was typed."""
        self._guard(f"Test image {self.number.value}", self._classify_test_image)

    def on_clear(self, _=None):
        """Forget all pictures and answers."""
        self._guard("Forgetting", self._clear)

    def _guard(self, name, action):
        """Run a callback's work. The one place where its exception becomes visible."""
        try:
            action()
        except Exception as error:  # Jupyter shows no exception that leaves a callback
            self.status.value = _status(f"{name} was not classified: see below.")
            self._add_result(widgets.HTML(render_error_html(name, error)))

    def _use_front(self):
        """The front end runs our own parts: show pictures without saving them, hide the button."""
        self._screen = Screen
        self._core.layout.display = "none"

    def _add_samples(self, samples):
        pairs = [(Path(s).name, s) if isinstance(s, str | Path) else s for s in samples]
        self._samples = dict(pairs)
        self.samples.options = [CHOOSE, *self._samples]

    def _classify_upload(self, value):
        if not value:  # clearing, below, comes back here
            return
        try:
            files = _read_upload(value)
        finally:
            # A person's picture must not stay in the widget's state, which Jupyter may save with
            # the notebook.
            _clear_upload(self.upload)
        self._classify_all(files)

    def _classify_test_image(self):
        data, number = self._load_data(), self.number.value
        if data is None:
            raise DataError(NO_DATA)
        count = len(data.test_images)
        if number >= count:
            raise CifarError(f"The test images are 0 to {count - 1}.")
        kind = "synthetic test image" if data.name == "synthetic" else "test image"
        name = f"{kind} {number} ({data.class_names[data.test_labels[number]]})"
        self._classify_all([(name, data.test_images[number])])

    def _classify_all(self, files, left=0):
        """Classify `(name, source)` pairs one by one; a bad one leaves the others alone.

        Args:
            files: The pairs.
            left: How many more of the same drop will come.
        """
        for number, (name, source) in enumerate(files, start=1):
            rest = len(files) - number + left
            self.status.value = _status(f"Reading {name}, {rest} more to come …")
            try:
                picture = open_picture(source)
                prediction = self._classifier.predict(picture)
                self._add_card(name, source, picture, prediction)
                self._tally["done"] += 1
            except Exception as error:
                self._add_error(name, error)
        if not left:
            self._tell()

    def _tell(self):
        """Say how many of the pictures that came together were classified."""
        done, failed = self._tally.values()
        self._tally = {"done": 0, "failed": 0}
        self.status.value = _status(
            f"{done} of {done + failed} classified."
            + (f" {failed} not: see below." if failed else "")
        )

    def _add_card(self, name, source, picture, prediction):
        card = ResultCard(
            self._classifier,
            name,
            picture,
            prediction,
            describe_orientation(source),
            self._screen,
            self._guard,
            self._find_nearest,
        )
        self._add_result(card, describe_prediction(name, prediction, TOP))

    def _refuse(self, name, reason, left=0):
        """Say why a picture did not come."""
        self._add_error(name, CifarError(reason))
        if not left:
            self._tell()

    def _add_error(self, name, error):
        self._tally["failed"] += 1
        row = {"picture": name, "error": str(error)}
        self._add_result(widgets.HTML(render_error_html(name, error)), row)

    def _add_result(self, widget, row=None):
        """Show a result above the others, and add its row to the table."""
        shown = (widget, *self.results.children)
        self.results.children = shown[:MAX_RESULTS]
        for old in shown[MAX_RESULTS:]:
            _close(old)
        if row:
            self._rows.append(row)
            self.table.value = render_table_html(self._rows, render_csv(self._rows, TOP))
            self.children[-1].layout.display = "flex"

    def _clear(self):
        gone, self.results.children = self.results.children, ()
        for old in gone:
            _close(old)
        self._rows, self.table.value = [], ""
        self.children[-1].layout.display = "none"
        self.status.value = _status("All forgotten.")

    def _load_data(self):
        if self._data is None:
            before, self.status.value = self.status.value, _status("Loading CIFAR-10 …")
            self._data = load_local_dataset()
            self.status.value = before
        return self._data

    def _find_nearest(self, view):
        """Return `(image, class name)` of the training images most like a view, or nothing."""
        data = self._load_data()
        if data is None:
            return []
        if self._nearest is None:
            self._nearest = NearestImages(data.train_images)
        return [
            (data.train_images[i], data.class_names[data.train_labels[i]])
            for i in self._nearest.find(view)
        ]


def _read_upload(value):
    """Return `(name, bytes)` pairs from either form of `FileUpload.value`.

    ipywidgets 8 gives a tuple of dicts with a memoryview, 7 (Colab) a dict by name.
    """
    if isinstance(value, dict):
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def _clear_upload(upload):
    """Take the uploaded files out of the widget's state."""
    if isinstance(upload.value, dict):  # ipywidgets 7, where `value` is made of these two
        upload.metadata, upload.data = [], []
        upload.set_trait("value", {})
    else:
        upload.value = ()


def _close(widget):
    """Close a widget and all in it: open ones stay in memory, with the pictures they show."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()


def _source_html(source):
    """Say where the model came from; loudly, if it knows drawings only."""
    loud = f"border:3px solid {ERROR_COLOUR};padding:8px" if source.synthetic else ""
    return f'<div style="color:{TEXT_COLOUR};{loud}">{html.escape(str(source))}</div>'


def _colab_note():
    return COLAB_NOTE if "google.colab" in sys.modules else ""


def _note(text):
    """A line in small print."""
    return widgets.HTML(f'<small style="color:{TEXT_COLOUR}">{text}</small>')


def _status(text):
    """Wrap a line so that screen readers announce it."""
    return f'<div role="status" style="color:{TEXT_COLOUR}">{html.escape(text)}</div>'
