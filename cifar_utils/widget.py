"""The notebook front of `Classifier`: drop a photo into a cell. Core ipywidgets only, 7 and 8."""

import html
import warnings
from collections.abc import Iterable
from pathlib import Path

import ipywidgets as widgets

from cifar_utils.inference import Classifier
from cifar_utils.pictures import open_picture
from cifar_utils.prediction_html import (
    ERROR_COLOUR,
    TEXT_COLOUR,
    render_error_html,
    render_prediction_html,
)

CHOOSE = "choose…"
MAX_RESULTS = 20  # older results go, so that a long session does not fill the page
LIMIT_NOTE = (
    "An upload above about 10 MB (in Colab about 1 MB) can vanish without a word: that is the "
    "notebook server's limit. Give such a file's path instead, as the kernel sees it."
)


def show_classifier(classifier=None, samples: Iterable = ()) -> "ClassifierPanel":
    """Build the panel in which a person classifies pictures.

    Args:
        classifier: A `Classifier`; None loads the weights that ship.
        samples: Pictures to pick from a list: paths, or pairs (name, picture).

    Returns:
        A widget; as the last line of a cell it shows itself.

    Raises:
        CifarError: If there is no model to load; the message says how to make one.
    """
    return ClassifierPanel(Classifier.load() if classifier is None else classifier, samples)


class ClassifierPanel(widgets.VBox):
    """Upload button, path field, samples and results; made by `show_classifier`.

    Attributes:
        upload, path, path_button, samples: The ways in.
        status: One line on what happened, announced by screen readers.
        results: One HTML widget per picture, newest first.
    """

    def __init__(self, classifier, samples=()):
        super().__init__()
        self._classifier = classifier
        self._samples = {}
        self.status = widgets.HTML(_status("No picture yet."))
        self.results = widgets.VBox()
        self.upload = widgets.FileUpload(
            accept="image/*,.heic,.heif,.avif",
            multiple=True,
            description="Choose pictures",
            layout={"width": "auto"},
        )
        self.path = widgets.Text(
            description="or a path:", placeholder="photos/cat.jpg", layout={"width": "28em"}
        )
        self.path_button = widgets.Button(description="Classify", tooltip="Classify this path")
        self.samples = widgets.Dropdown(
            description="or a sample:",
            options=[CHOOSE],
            style={"description_width": "initial"},
        )
        self._guard("The list of samples", lambda: self._add_samples(samples))
        self._connect()
        self.children = [
            widgets.HTML(_source_html(classifier.source)),
            widgets.HBox([self.upload, self.path, self.path_button], layout={"flex_flow": "wrap"}),
            widgets.HTML(f'<small style="color:{TEXT_COLOUR}">{LIMIT_NOTE}</small>'),
            *([self.samples] if self._samples else []),
            self.status,
            self.results,
        ]

    def _connect(self):
        """Let every way in call its method."""
        self.upload.observe(self.on_upload, names="value")
        self.path_button.on_click(self.on_path)
        self.samples.observe(self.on_sample, names="value")
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

    def _guard(self, name, action):
        """Run a callback's work. The one place where its exception becomes visible."""
        try:
            action()
        except Exception as error:  # Jupyter shows no exception that leaves a callback
            self._add_result(render_error_html(name, error))

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
            # A person's picture must not stay in the widget's state, which Jupyter saves with the
            # notebook. What is displayed (thumbnail and view) is widget state too: the pipeline
            # takes all widget state out of what it saves.
            _clear_upload(self.upload)
        self._classify_all(files)

    def _classify_all(self, files):
        """Classify `(name, source)` pairs one by one; a bad one leaves the others alone."""
        failed = 0
        for number, (name, source) in enumerate(files, start=1):
            self.status.value = _status(f"Reading {name} ({number} of {len(files)}) …")
            try:
                picture = open_picture(source)
                prediction = self._classifier.predict(picture)
                self._add_result(render_prediction_html(prediction, name, picture))
            except Exception as error:
                failed += 1
                self._add_result(render_error_html(name, error))
        done = len(files) - failed
        self.status.value = _status(
            f"{done} of {len(files)} classified." + (f" {failed} not: see below." if failed else "")
        )

    def _add_result(self, text):
        self.results.children = (widgets.HTML(text), *self.results.children)[:MAX_RESULTS]


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


def _source_html(source):
    """Say where the model came from; loudly, if it knows drawings only."""
    loud = f"border:3px solid {ERROR_COLOUR};padding:8px" if source.synthetic else ""
    return f'<div style="color:{TEXT_COLOUR};{loud}">{html.escape(str(source))}</div>'


def _status(text):
    """Wrap a line so that screen readers announce it."""
    return f'<div role="status" style="color:{TEXT_COLOUR}">{html.escape(text)}</div>'
