"""The `Classifier` in a notebook cell: drop a photo, read the prediction.

Core ipywidgets, 7 and 8, with the three small `parts` where the front end can run them. Until the
drop zone has reported that it runs, the core upload button is shown, and results use core widgets.
"""

import html
from collections.abc import Iterable
from dataclasses import replace

import ipywidgets as widgets

from cifar_utils.apps.predict import render_spreadsheet
from cifar_utils.apps.widget.card import ResultCard, close_all
from cifar_utils.apps.widget.html import (
    ERROR_COLOUR,
    TEXT_COLOUR,
    render_error_html,
    render_table_html,
)
from cifar_utils.apps.widget.inputs import PhotoInputs
from cifar_utils.apps.widget.parts import Screen
from cifar_utils.data import load_local_dataset
from cifar_utils.data.statistics import NearestImages
from cifar_utils.errors import CifarError
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.images import describe_orientation, open_picture
from cifar_utils.inference.samples import list_samples

MAX_RESULTS = 20  # older results go, so that a long session does not fill the page
TOP = 3  # classes in the table


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
        classifier: The `Classifier`.
        screen: Makes an area for HTML: `parts.Screen`, or `ipywidgets.HTML` where the front end
            cannot run that.
        inputs: The `PhotoInputs`.
        status: One line on what happened, announced by screen readers.
        results: One `ResultCard` or error per photo, newest first.
        table: All predictions, with a link that saves them for a spreadsheet.
        clear_button: Forgets all photos and predictions.
    """

    def __init__(self, classifier, samples=(), data=None):
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
        source = widgets.HTML(_source_html(classifier.source))
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
        line = f'<div role="status" style="color:{TEXT_COLOUR}">{html.escape(text)}</div>'
        self.status.value = line

    def use_parts(self):
        """From now on, show photos by messages, which are never saved."""
        self.screen = Screen

    def classify(self, files, left=0):
        """Classify `(name, source)` pairs one by one; a bad one leaves the others alone.

        Args:
            files: The pairs.
            left: How many more of the same drop will come.
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
        if not left:
            self._say_counts()

    def refuse(self, name, reason, left=0):
        """Say why a file did not come."""
        self._add_error(name, CifarError(reason))
        if not left:
            self._say_counts()

    def _say_counts(self):
        """Say how many of the photos that came together were classified."""
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
            self.table.value = render_table_html(self._rows, render_spreadsheet(self._rows, TOP))
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
        if self._nearest is None:
            self._nearest = NearestImages(data.train_images)
        return [
            (data.train_images[i], data.class_names[data.train_labels[i]])
            for i in self._nearest.find(view)
        ]


def _source_html(source):
    """Say which model this is; in a thick frame if it was trained on synthetic images."""
    loud = f"border:3px solid {ERROR_COLOUR};padding:8px" if source.synthetic else ""
    return f'<div style="color:{TEXT_COLOUR};{loud}">{html.escape(str(source))}</div>'
