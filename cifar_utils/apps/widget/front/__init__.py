"""The three small parts of the widget that core ipywidgets have no like of, made with anywidget.

What a person's picture is made of travels in messages and is no part of any widget's state: state
is what Jupyter and Colab save into the notebook. Messages also lift the limit on uploads: a file
comes in pieces, each below what the server (10 MB) and Colab (1 MB) let through.
"""

from pathlib import Path

import anywidget
import traitlets

FOLDER = Path(__file__).parent
PIECE = 512 * 1024  # bytes; a third more on the way, as Colab encodes it


class _Part(anywidget.AnyWidget):
    """What the three have in common."""

    _css = FOLDER / "front.css"

    def __repr__(self):
        """Without an address: it stands in the output of an executed notebook."""
        return f"{type(self).__name__}()"


class DropZone(_Part):
    """Takes pictures that are dropped, pasted or chosen, in pieces.

    Args:
        limit: Largest file that is sent, in bytes.
        on_file: Called with `(name, bytes, left)` for each that has arrived; `left` more of the
            same drop are on their way.
        on_refusal: Called with `(name, reason, left)` for each that was not sent, or not whole.
        on_ready: Called once the front end has shown that it can run this widget.
    """

    _esm = FOLDER / "drop.js"
    limit = traitlets.Int().tag(sync=True)
    piece = traitlets.Int(PIECE).tag(sync=True)

    def __init__(self, limit, on_file, on_refusal, on_ready):
        super().__init__(limit=limit)
        self._on_file, self._on_refusal, self._on_ready = on_file, on_refusal, on_ready
        self._arriving = {}
        self.on_msg(self._receive)

    def _receive(self, _, content, buffers):
        """Take a message of the front end: "ready", "refused", "cancelled" or a "piece"."""
        kind = content.get("kind")
        if kind == "ready":
            self._on_ready()
        elif kind == "refused":
            self._on_refusal(content["name"], content["reason"], content["left"])
        elif kind == "cancelled":  # the page was left, or the file could not be read to its end
            self._arriving.pop(content["id"], None)
        elif kind == "piece":
            self._take(content, bytes(buffers[0]) if buffers else b"")

    def _take(self, content, piece):
        """Add a piece to its file, ask for more, and hand the file on when it is whole."""
        self.send({"kind": "taken", "id": content["id"]})
        whole = self._arriving.setdefault(content["id"], bytearray())
        expected = len(whole) == content["offset"] and len(whole) + len(piece) <= self.limit
        if not expected or content["size"] > self.limit:
            self._arriving.pop(content["id"])
            reason = "It did not arrive whole. Choose it again."
            self._on_refusal(content["name"], reason, content["left"])
        else:
            whole += piece
            if len(whole) == content["size"]:
                self._arriving.pop(content["id"])
                self._on_file(content["name"], bytes(whole), content["left"])


class Screen(_Part):
    """Shows HTML that is never saved; used like `ipywidgets.HTML`."""

    _esm = FOLDER / "screen.js"

    def __init__(self, value=""):
        super().__init__()
        self._value = value
        self.on_msg(lambda *_: self._show())  # a view has opened: there may be several, or a reload

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
    """A picture with a square on it, to move and to size by pointer or keys.

    Attributes:
        across, down: Where the square lies, in percent of the way that it can go.
        size: Its side in percent of the picture's shorter side.
    """

    _esm = FOLDER / "crop.js"
    across = traitlets.Float(50).tag(sync=True)
    down = traitlets.Float(50).tag(sync=True)
    size = traitlets.Float(100).tag(sync=True)
    smallest = traitlets.Float(10).tag(sync=True)

    def __init__(self, jpeg, **place):
        super().__init__(**place)
        self.on_msg(lambda *_: self.send({"kind": "picture"}, [jpeg]))
