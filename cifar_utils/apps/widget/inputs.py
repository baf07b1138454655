"""How a picture comes into the widget: dropped, uploaded, by its path, a sample, a test image."""

import sys
import warnings
from pathlib import Path

import ipywidgets as widgets

from cifar_utils.apps.widget.front import DropZone
from cifar_utils.apps.widget.html import TEXT_COLOUR
from cifar_utils.errors import CifarError, DataError
from cifar_utils.inference.images import MAX_BYTES

CHOOSE = "choose…"
LIMIT_NOTE = (
    "This button can lose a file above about 10 MB (in Colab about 1 MB) without a word: that is "
    "the notebook server's limit; make lab and make app lift it to 100 MB. Give such a file's path "
    "instead, as the kernel sees it."
)
COLAB_NOTE = " In Colab, google.colab.files.upload() in a cell of its own puts files there."
NO_DATA = "CIFAR-10 is not on this machine. 'python -m cifar_utils data' says how to get it."


class PictureInputs(widgets.VBox):
    """The ways in.

    Args:
        on_files: Called with a list of `(name, source)` and how many more of a drop will come.
        on_refusal: Called with `(name, reason, left)` for a file that did not come.
        on_front: Called once the front end has shown that it can run the parts of `front`.
        say: Shows one line on what happened.
        guard: Runs a callback's work and shows what it raises: `guard(name, action)`.
        load_data: Returns a `data.Dataset`, or None if it is not at hand.
        samples: Paths, or pairs (name, picture).

    Attributes:
        drop, upload, path, path_button, samples, number, number_button: The ways in.
    """

    def __init__(self, on_files, on_refusal, on_front, say, guard, load_data, samples):
        super().__init__()
        self._on_files, self._on_front = on_files, on_front
        self._say, self._guard, self._load_data = say, guard, load_data
        self._samples = {}
        self.drop = DropZone(
            MAX_BYTES,
            on_file=lambda name, content, left: guard(
                name, lambda: on_files([(name, content)], left)
            ),
            on_refusal=on_refusal,
            on_ready=self._use_front,
        )
        self._make_core_widgets()
        guard("The list of samples", lambda: self._add_samples(samples))
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
        """Make those that every front end can show."""
        narrow = {"width": "auto"}
        self.upload = widgets.FileUpload(
            accept="image/*,.heic,.heif,.avif",
            multiple=True,
            description="Upload pictures",
            tooltip="Upload pictures",
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
            # ipywidgets 8 would rather have `continuous_update=False` observed, but that also fires
            # when the field is left, and pressing Enter on the same path again does nothing.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.path.on_submit(self.on_path)

    def on_upload(self, change):
        """Hand on what was uploaded, and forget the files."""
        self._guard("The upload", lambda: self._take_upload(change["new"]))

    def on_path(self, _=None):
        """Hand on the file whose path was typed."""
        # Explorer's "Copy as path" and a dragged file come in quotes.
        text = self.path.value.strip().strip("\"'")
        if text:
            self._guard("The path", lambda: self._on_files([(Path(text).name, text)], 0))
        else:
            self._say("Type the path of a picture first.")

    def on_sample(self, change):
        """Hand on the sample that was picked."""
        if change["new"] in self._samples:
            picked = (change["new"], self._samples[change["new"]])
            self._guard("The sample", lambda: self._on_files([picked], 0))

    def on_number(self, _=None):
        """Hand on the test image whose number was typed."""
        self._guard(f"Test image {self.number.value}", self._take_test_image)

    def _use_front(self):
        """Hide the core upload button: the front end runs the drop zone, which knows no limit."""
        self._core.layout.display = "none"
        self._on_front()

    def _add_samples(self, samples):
        pairs = [(Path(s).name, s) if isinstance(s, str | Path) else s for s in samples]
        self._samples = dict(pairs)
        self.samples.options = [CHOOSE, *self._samples]

    def _take_upload(self, value):
        if not value:  # clearing, below, comes back here
            return
        try:
            files = _read_upload(value)
        finally:
            # A person's picture must not stay in the widget's state, which Jupyter may save with
            # the notebook.
            _clear_upload(self.upload)
        self._on_files(files, 0)

    def _take_test_image(self):
        data, number = self._load_data(), self.number.value
        if data is None:
            raise DataError(NO_DATA)
        count = len(data.test_images)
        if number >= count:
            raise CifarError(f"The test images are 0 to {count - 1}.")
        kind = "synthetic test image" if data.name == "synthetic" else "test image"
        name = f"{kind} {number} ({data.class_names[data.test_labels[number]]})"
        self._on_files([(name, data.test_images[number])], 0)


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
