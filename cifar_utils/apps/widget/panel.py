"""The notebook front of `Classifier`: drop a photo into a cell.

Core ipywidgets, 7 and 8, with the three small parts of `front` where the front end can run them.
The panel finds that out by itself: until the drop zone has reported, the core upload button is
there, and pictures are shown by core widgets.
"""

import html
from collections.abc import Iterable

import ipywidgets as widgets

from cifar_utils.apps.predict import render_csv
from cifar_utils.apps.widget.card import ResultCard, close_all
from cifar_utils.apps.widget.front import Screen
from cifar_utils.apps.widget.html import (
    ERROR_COLOUR,
    TEXT_COLOUR,
    render_error_html,
    render_table_html,
)
from cifar_utils.apps.widget.inputs import PictureInputs
from cifar_utils.data import load_local_dataset
from cifar_utils.data.statistics import NearestImages
from cifar_utils.errors import CifarError
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.images import describe_orientation, open_picture
from cifar_utils.inference.samples import list_samples

MAX_RESULTS = 20  # older results go, so that a long session does not fill the page
TOP = 3  # classes in the table


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
        inputs: The `PictureInputs`.
        status: One line on what happened, announced by screen readers.
        results: One `ResultCard` or error per picture, newest first.
        table: All answers, with a link that saves them as CSV.
        clear_button: Forgets all pictures and answers.
    """

    def __init__(self, classifier, samples=(), data=None):
        super().__init__()
        self._classifier, self._data, self._nearest = classifier, data, None
        self._rows, self._screen = [], widgets.HTML
        self._tally = {"done": 0, "failed": 0}  # of the pictures that come together
        self.status, self.results, self.table = widgets.HTML(), widgets.VBox(), widgets.HTML()
        self.clear_button = widgets.Button(
            description="Forget all", tooltip="Forget all pictures and answers"
        )
        self.clear_button.on_click(lambda _: self._guard("Forgetting", self._clear))
        self._foot = widgets.VBox([self.table, self.clear_button], layout={"display": "none"})
        self._say("No picture yet.")
        self.inputs = PictureInputs(
            on_files=self._classify_all,
            on_refusal=self._refuse,
            on_front=self._use_front,
            say=self._say,
            guard=self._guard,
            load_data=self._load_data,
            samples=samples,
        )
        source = widgets.HTML(_source_html(classifier.source))
        self.children = [source, self.inputs, self.status, self.results, self._foot]

    def _guard(self, name, action):
        """Run a callback's work. The one place where its exception becomes visible."""
        try:
            action()
        except Exception as error:  # Jupyter shows no exception that leaves a callback
            self._say(f"{name}: see below.")
            self._add_result(widgets.HTML(render_error_html(name, error)))

    def _say(self, text):
        """Show one line, which screen readers announce."""
        line = f'<div role="status" style="color:{TEXT_COLOUR}">{html.escape(text)}</div>'
        self.status.value = line

    def _use_front(self):
        """From now on, show pictures without saving them."""
        self._screen = Screen

    def _classify_all(self, files, left=0):
        """Classify `(name, source)` pairs one by one; a bad one leaves the others alone.

        Args:
            files: The pairs.
            left: How many more of the same drop will come.
        """
        for number, (name, source) in enumerate(files, start=1):
            rest = len(files) - number + left
            self._say(f"Reading {name}{f', {rest} more to come' if rest else ''} …")
            try:
                picture = open_picture(source)
                prediction = self._classifier.predict(picture)
                self._add_card(name, source, picture, prediction)
                self._tally["done"] += 1
            except Exception as error:
                self._add_error(name, error)
        if not left:
            self._tell()

    def _refuse(self, name, reason, left=0):
        """Say why a picture did not come."""
        self._add_error(name, CifarError(reason))
        if not left:
            self._tell()

    def _tell(self):
        """Say how many of the pictures that came together were classified."""
        done, failed = self._tally.values()
        self._tally = {"done": 0, "failed": 0}
        self._say(
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
        self._add_result(card, prediction.to_dict(name, TOP))

    def _add_error(self, name, error):
        self._tally["failed"] += 1
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
            self.table.value = render_table_html(self._rows, render_csv(self._rows, TOP))
        self._foot.layout.display = "flex"

    def _clear(self):
        gone, self.results.children = self.results.children, ()
        for old in gone:
            close_all(old)
        self._rows, self.table.value = [], ""
        self._foot.layout.display = "none"
        self._say("All forgotten.")

    def _load_data(self):
        if self._data is None:
            before = self.status.value
            self._say("Loading CIFAR-10 …")
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


def _source_html(source):
    """Say where the model came from; loudly, if it knows drawings only."""
    loud = f"border:3px solid {ERROR_COLOUR};padding:8px" if source.synthetic else ""
    return f'<div style="color:{TEXT_COLOUR};{loud}">{html.escape(str(source))}</div>'
