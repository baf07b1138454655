"""The three small parts of the widget that core ipywidgets lack, made with anywidget.

The bytes of a person's photo travel in messages and are never part of a widget's state: state is
what Jupyter and Colab save into the notebook. Messages also lift the limit on uploads: a file comes
in pieces, each smaller than what the server (10 MB) and Colab (1 MB) let through.
"""

from pathlib import Path

import anywidget
import traitlets

FOLDER = Path(__file__).parent
PIECE = 512 * 1024  # bytes; base64, as in Colab, adds a third


class _Part(anywidget.AnyWidget):
    """What the three have in common."""

    _css = FOLDER / "parts.css"

    def __repr__(self):
        """Without an address: the text is part of an executed notebook's output."""
        return f"{type(self).__name__}()"


class DropZone(_Part):
    """Takes files of at most `limit` bytes that are dropped, pasted or chosen, in pieces.

    `on_file(name, content, left)` is called for each that has arrived, where `left` more of the
    same drop are on their way; `on_refusal(name, reason, left)` for each that has not, or not
    whole; `on_ready()` once the front end has shown that it can run this widget.
    """

    _esm = FOLDER / "drop.js"
    limit = traitlets.Int().tag(sync=True)
    piece = traitlets.Int(PIECE).tag(sync=True)

    def __init__(self, limit, on_file, on_refusal, on_ready):
        super().__init__(limit=limit)
        self._on_file, self._on_refusal, self._on_ready = on_file, on_refusal, on_ready
        self.arriving = {}  # the bytes so far of each file, by its id
        self.on_msg(lambda _, content, buffers: self.receive(content, buffers))

    def receive(self, content, buffers=()):
        """Take a message of `drop.js`."""
        match content.get("kind"):
            case "ready":
                self._on_ready()
            case "refused":
                self._on_refusal(content["name"], content["reason"], content["left"])
            case "cancelled":  # the page was left, or the file could not be read to its end
                self.arriving.pop(content["id"], None)
            case "piece":
                self._take(content, bytes(buffers[0]) if buffers else b"")

    def _take(self, content, piece):
        """Add a piece to its file, ask for more, and hand the file on when it is whole."""
        self.send({"kind": "taken", "id": content["id"]})
        whole = self.arriving.setdefault(content["id"], bytearray())
        # The size is the browser's claim: the limit is checked against what has really arrived.
        expected = len(whole) == content["offset"] and len(whole) + len(piece) <= self.limit
        if not expected or content["size"] > self.limit:
            self.arriving.pop(content["id"])
            reason = "It did not arrive whole. Choose it again."
            self._on_refusal(content["name"], reason, content["left"])
        else:
            whole += piece
            if len(whole) == content["size"]:
                self.arriving.pop(content["id"])
                self._on_file(content["name"], bytes(whole), content["left"])


class Screen(_Part):
    """Shows HTML that is never saved; used like `ipywidgets.HTML`."""

    _esm = FOLDER / "screen.js"

    def __init__(self, value=""):
        super().__init__()
        self._value = value
        # Any message means that a view has opened; there may be several, or a reload.
        self.on_msg(lambda *_: self._show())

    @property
    def value(self):
        """The HTML; setting it shows it."""
        return self._value

    @value.setter
    def value(self, value):
        self._value = value
        self._show()

    def _show(self):
        self.send({"html": self._value})


class CropPicker(_Part):
    """A photo with a square on it, to move and to size by pointer or keys.

    Attributes:
        across, down: The square's position, in percent of the distance that it can move.
        size: Its side in percent of the photo's shorter side.
    """

    _esm = FOLDER / "crop.js"
    across = traitlets.Float(50).tag(sync=True)
    down = traitlets.Float(50).tag(sync=True)
    size = traitlets.Float(100).tag(sync=True)
    smallest = traitlets.Float(10).tag(sync=True)

    def __init__(self, jpeg, **place):
        super().__init__(**place)
        self.on_msg(lambda *_: self.send({"kind": "photo"}, [jpeg]))
