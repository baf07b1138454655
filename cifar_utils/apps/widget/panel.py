"""The `Classifier` in a notebook cell: drop a photo, read the prediction.

Core ipywidgets, 7 and 8, with the three small `parts` where the front end can run them. Until the
drop zone has reported that it runs, the core upload button is shown, and results use core widgets.
"""

import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets

from cifar_utils.apps.predict import load_test_images, render_csv
from cifar_utils.apps.widget.card import ResultCard, close_all
from cifar_utils.apps.widget.html import (
    render_error_html,
    render_table_html,
    render_text_html,
)
from cifar_utils.apps.widget.parts import DropZone, Screen
from cifar_utils.data import load_local_dataset
from cifar_utils.data.statistics import NearestImages
from cifar_utils.errors import CifarError, DataError
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.images import MAX_BYTES, describe_orientation, open_picture
from cifar_utils.inference.samples import list_samples

MAX_RESULTS = 20  # older results go, so that a long session does not fill the page
TOP = 3  # classes in the table
CHOOSE = "choose…"
LIMIT_NOTE = (
    "This button can lose a file above about 10 MB (in Colab about 1 MB) without a message: that is"
    " the notebook server's limit; make lab and make app lift it to 100 MB. Give such a file's path"
    " instead, as the kernel sees it."
)
COLAB_NOTE = " In Colab, google.colab.files.upload() in a cell of its own puts files there."
NO_DATA = "CIFAR-10 is not on this machine. 'python -m cifar_utils data' says how to get it."


def show_classifier(classifier=None, samples: Iterable | None = None, data=None):
    """Build the panel in which a person classifies photos.

    Args:
        classifier: A `Classifier`; None loads the shipped weights.
        samples: Images to pick from a list: paths, or pairs (name, image); None takes those that
            ship with the package.
        data: A `data.Dataset` for test images and for the most similar training images; None loads
            CIFAR-10 when it is first needed, if it is on this machine.

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
        screen: Makes an area for HTML: `parts.Screen`, or `ipywidgets.HTML` where the front end
            cannot run that.
        inputs: The `PhotoInputs`.
        status: One line on what happened, announced by screen readers.
        results: One `ResultCard` or error per photo, newest first.
        table: All predictions, with a link that saves them for a spreadsheet.
        clear_button: Forgets all photos and predictions.
    """

    def __init__(self, classifier, samples, data):
        super().__init__()
        self.classifier, self.screen = classifier, widgets.HTML
        self._data, self._nearest = data, None
        self._rows, self._done, self._failed = [], 0, 0  # the counts are those of one drop
        self.status, self.results, self.table = widgets.HTML(), widgets.VBox(), widgets.HTML()
        self.clear_button = widgets.Button(
            description="Forget all", tooltip="Forget all photos and predictions"
        )
        self.clear_button.on_click(lambda _: self.guard("Forgetting", self._clear))
        self._foot = widgets.VBox([self.table, self.clear_button], layout={"display": "none"})
        self.say("No photo yet.")
        self.inputs = PhotoInputs(self, samples)
        source = widgets.HTML(
            render_text_html(str(classifier.source), loud=classifier.source.synthetic)
        )
        self.children = [source, self.inputs, self.status, self.results, self._foot]

    def guard(self, name, action):
        """Run a callback's work. The one place where its exception becomes visible."""
        try:
            action()
        except Exception as error:  # Jupyter shows no exception that leaves a callback
            self.say(f"{name}: see below.")
            self._add_result(widgets.HTML(render_error_html(name, error)))

    def say(self, text):
        """Show one line, which screen readers announce."""
        self.status.value = render_text_html(text, more='role="status"')

    def classify(self, files, left=0):
        """Classify `(name, source)` pairs one by one; a bad one leaves the others alone.

        `left` more of the same drop will come.
        """
        for number, (name, source) in enumerate(files, start=1):
            rest = len(files) - number + left
            self.say(f"Reading {name}{f', {rest} more to come' if rest else ''} …")
            try:
                photo = open_picture(source)
                # The note is on the opened file only: what is opened already has plain pixels.
                note = photo.info.get("note", "")
                prediction = replace(self.classifier.predict(photo), note=note)
                card = ResultCard(self, name, photo, prediction, describe_orientation(source))
                self._add_result(card, prediction.to_dict(name, TOP))
                self._done += 1
            except Exception as error:
                self._add_error(name, error)
        self._say_counts(left)

    def refuse(self, name, reason, left=0):
        """Say why a file did not come."""
        self._add_error(name, CifarError(reason))
        self._say_counts(left)

    def _say_counts(self, left):
        """Say how many of the photos that came together were classified, once none is left."""
        if not left:
            failed = f" {self._failed} not: see below." if self._failed else ""
            self.say(f"{self._done} of {self._done + self._failed} classified.{failed}")
            self._done = self._failed = 0

    def _add_error(self, name, error):
        self._failed += 1
        row = {"picture": name, "error": str(error)}
        self._add_result(widgets.HTML(render_error_html(name, error)), row)

    def _add_result(self, widget, row=None):
        """Show a result above the others, and add its row to the table."""
        shown = (widget, *self.results.children)
        self.results.children = shown[:MAX_RESULTS]
        for old in shown[MAX_RESULTS:]:
            close_all(old)
        if row:
            self._rows.append(row)
            sheet = render_csv(self._rows, TOP, spreadsheet=True)
            self.table.value = render_table_html(self._rows, sheet)
        self._foot.layout.display = "flex"

    def _clear(self):
        gone, self.results.children = self.results.children, ()
        for old in gone:
            close_all(old)
        self._rows, self.table.value = [], ""
        self._foot.layout.display = "none"
        self.say("All forgotten.")

    def load_data(self):
        """Return the data set, loaded when first needed; None if it is not on this machine."""
        if self._data is None:
            before = self.status.value
            self.say("Loading CIFAR-10 …")
            self._data = load_local_dataset()
            self.status.value = before
        return self._data

    def find_nearest(self, view):
        """Return `(image, class name)` of the most similar training images, if they are here."""
        data = self.load_data()
        if data is None:
            return []
        self._nearest = self._nearest or NearestImages(data.train_images)
        return [
            (data.train_images[i], data.class_names[data.train_labels[i]])
            for i in self._nearest.find(view)
        ]


class PhotoInputs(widgets.VBox):
    """The ways in: drop, upload, path, sample, test image. Each calls the panel's `classify`."""

    def __init__(self, panel, samples):
        super().__init__()
        self._panel, self._samples = panel, {}
        self.drop = DropZone(
            MAX_BYTES,
            on_file=lambda name, content, left: panel.guard(
                name, lambda: panel.classify([(name, content)], left)
            ),
            on_refusal=panel.refuse,
            on_ready=self._use_parts,
        )
        self.upload = widgets.FileUpload(
            accept="image/*,.heic,.heif,.avif",
            multiple=True,
            description="Upload photos",
            tooltip="Upload photos",
            layout={"width": "auto"},
        )
        self.upload.observe(self.on_upload, names="value")
        self.path = widgets.Text(
            description="a path:", placeholder="photos/cat.jpg", layout={"width": "24em"}
        )
        self.path_button = _make_button("Classify this path", self._on_path)
        with warnings.catch_warnings():
            # ipywidgets 8 recommends to observe with `continuous_update=False` instead. That also
            # fires when the field loses the focus, and not when Enter repeats the same path.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.path.on_submit(self._on_path)
        self.samples = widgets.Dropdown(
            description="a sample:", options=[CHOOSE], layout={"width": "22em"}
        )
        panel.guard("The list of samples", lambda: self._add_samples(samples))
        self.samples.observe(self._on_sample, names="value")
        self.number = widgets.BoundedIntText(
            description="test image:", min=0, max=9999, layout={"width": "14em"}
        )
        self.number_button = _make_button("Classify this test image", self._on_number)
        note = LIMIT_NOTE + (COLAB_NOTE if "google.colab" in sys.modules else "")
        self._core = widgets.VBox([self.upload, widgets.HTML(render_text_html(note, "small"))])
        path = widgets.HBox([self.path, self.path_button])
        number = widgets.HBox([self.number, self.number_button])
        others = [path, *([self.samples] if self._samples else []), number]
        self.children = [self.drop, self._core, widgets.HBox(others, layout={"flex_flow": "wrap"})]

    def _use_parts(self):
        """The front end runs the drop zone, which has no limit, and messages, never saved."""
        self._core.layout.display = "none"
        self._panel.screen = Screen

    def _add_samples(self, samples):
        pairs = [(Path(s).name, s) if isinstance(s, str | Path) else s for s in samples]
        self._samples = dict(pairs)
        self.samples.options = [CHOOSE, *self._samples]

    def on_upload(self, change):
        """Classify what was uploaded, and forget the files."""
        if change["new"]:  # clearing the upload, below, fires the same event
            self._panel.guard("The upload", lambda: self._take_upload(change["new"]))

    def _take_upload(self, value):
        try:
            # ipywidgets 8 gives a tuple of dicts with a memoryview, 7 (Colab) a dict by name.
            entries = value.items() if isinstance(value, dict) else ((f["name"], f) for f in value)
            files = [(name, bytes(file["content"])) for name, file in entries]
        finally:
            # A person's photo must not stay in the widget's state, which Jupyter may save with
            # the notebook.
            if isinstance(self.upload.value, dict):  # made of these two
                self.upload.metadata, self.upload.data = [], []
                self.upload.set_trait("value", {})
            else:
                self.upload.value = ()
        self._panel.classify(files)

    def _on_path(self, _=None):
        # Explorer's "Copy as path" and a dragged file come in quotes.
        text = self.path.value.strip().strip("\"'")
        if text:
            self._panel.guard("The path", lambda: self._panel.classify([(Path(text).name, text)]))
        else:
            self._panel.say("Type the path of a photo first.")

    def _on_sample(self, change):
        if change["new"] in self._samples:
            chosen = (change["new"], self._samples[change["new"]])
            self._panel.guard("The sample", lambda: self._panel.classify([chosen]))

    def _on_number(self, _=None):
        def classify():
            data = self._panel.load_data()
            if data is None:
                raise DataError(NO_DATA)
            self._panel.classify(load_test_images([self.number.value], data))

        self._panel.guard(f"Test image {self.number.value}", classify)


def _make_button(tooltip, on_click):
    button = widgets.Button(description="Classify", tooltip=tooltip, layout={"width": "auto"})
    button.on_click(on_click)
    return button
