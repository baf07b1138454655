"""The ways in which a photo comes into the widget: drop, upload, path, sample, test image."""

import sys
import warnings
from pathlib import Path

import ipywidgets as widgets

from cifar_utils.apps.predict import load_test_images
from cifar_utils.apps.widget.html import TEXT_COLOUR
from cifar_utils.apps.widget.parts import DropZone
from cifar_utils.errors import DataError
from cifar_utils.inference.images import MAX_BYTES

CHOOSE = "choose…"
LIMIT_NOTE = (
    "This button can lose a file above about 10 MB (in Colab about 1 MB) without a message: that is"
    " the notebook server's limit; make lab and make app lift it to 100 MB. Give such a file's path"
    " instead, as the kernel sees it."
)
COLAB_NOTE = " In Colab, google.colab.files.upload() in a cell of its own puts files there."
NO_DATA = "CIFAR-10 is not on this machine. 'python -m cifar_utils data' says how to get it."


class PhotoInputs(widgets.VBox):
    """The ways in; each hands on `(name, source)` pairs to the panel's `classify`."""

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
        self._make_core_widgets()
        panel.guard("The list of samples", lambda: self._add_samples(samples))
        self._connect()
        note = LIMIT_NOTE + (COLAB_NOTE if "google.colab" in sys.modules else "")
        small = widgets.HTML(f'<small style="color:{TEXT_COLOUR}">{note}</small>')
        self._core = widgets.VBox([self.upload, small])
        path = widgets.HBox([self.path, self.path_button])
        number = widgets.HBox([self.number, self.number_button])
        others = [path, *([self.samples] if self._samples else []), number]
        row = widgets.HBox(others, layout={"flex_flow": "wrap"})
        self.children = [self.drop, self._core, row]

    def _make_core_widgets(self):
        """Make the widgets that every front end can show."""
        narrow = {"width": "auto"}
        self.upload = widgets.FileUpload(
            accept="image/*,.heic,.heif,.avif",
            multiple=True,
            description="Upload photos",
            tooltip="Upload photos",
            layout=narrow,
        )
        self.path = widgets.Text(
            description="a path:", placeholder="photos/cat.jpg", layout={"width": "24em"}
        )
        self.path_button = widgets.Button(
            description="Classify", tooltip="Classify this path", layout=narrow
        )
        self.samples = widgets.Dropdown(
            description="a sample:", options=[CHOOSE], layout={"width": "22em"}
        )
        self.number = widgets.BoundedIntText(
            description="test image:", min=0, max=9999, layout={"width": "14em"}
        )
        self.number_button = widgets.Button(
            description="Classify", tooltip="Classify this test image", layout=narrow
        )

    def _connect(self):
        """Let every way in call its method."""
        self.upload.observe(self.on_upload, names="value")
        self.path_button.on_click(self.on_path)
        self.samples.observe(self.on_sample, names="value")
        self.number_button.on_click(self.on_number)
        with warnings.catch_warnings():
            # ipywidgets 8 recommends to observe with `continuous_update=False` instead. That also
            # fires when the field loses the focus, and not when Enter repeats the same path.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.path.on_submit(self.on_path)

    def on_upload(self, change):
        """Classify what was uploaded, and forget the files."""
        self._panel.guard("The upload", lambda: self._take_upload(change["new"]))

    def on_path(self, _=None):
        """Classify the file whose path was typed."""
        # Explorer's "Copy as path" and a dragged file come in quotes.
        text = self.path.value.strip().strip("\"'")
        if text:
            self._panel.guard("The path", lambda: self._panel.classify([(Path(text).name, text)]))
        else:
            self._panel.say("Type the path of a photo first.")

    def on_sample(self, change):
        """Classify the sample that was selected."""
        if change["new"] in self._samples:
            chosen = (change["new"], self._samples[change["new"]])
            self._panel.guard("The sample", lambda: self._panel.classify([chosen]))

    def on_number(self, _=None):
        """Classify the test image whose number was typed."""
        self._panel.guard(f"Test image {self.number.value}", self._take_test_image)

    def _use_parts(self):
        """Hide the core upload button: the front end runs the drop zone, which has no limit."""
        self._core.layout.display = "none"
        self._panel.use_parts()

    def _add_samples(self, samples):
        pairs = [(Path(s).name, s) if isinstance(s, str | Path) else s for s in samples]
        self._samples = dict(pairs)
        self.samples.options = [CHOOSE, *self._samples]

    def _take_upload(self, value):
        if not value:  # clearing the upload, below, fires the same event
            return
        try:
            files = _read_upload(value)
        finally:
            # A person's photo must not stay in the widget's state, which Jupyter may save with
            # the notebook.
            _clear_upload(self.upload)
        self._panel.classify(files)

    def _take_test_image(self):
        data = self._panel.load_data()
        if data is None:
            raise DataError(NO_DATA)
        self._panel.classify(load_test_images([self.number.value], data))


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
