"""Progress for people: one line an epoch, and in a notebook a live bar and curves."""

import base64
import html
import io
import os
import sys
import time

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import spread_sizes
from cifar_utils.plots.training import plot_training_curves
from cifar_utils.runs import read_history
from cifar_utils.text import format_clock

SECONDS_BETWEEN_UPDATES = 1.0  # often enough to look alive, rarely enough to cost nothing


class Progress(keras.callbacks.Callback):
    """Prints one line an epoch; in a notebook that a person runs, draws a bar and the curves too.

    The lines begin with "epoch 1/3, ". They are what a saved notebook and the pipeline's terminal
    show.

    Args:
        run: A `runs.Run`; after a resume, the curves start with its earlier epochs.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run
        # A step's cost grows with the square of the images' side.
        self.costs = [size**2 for size in spread_sizes(run.recipe.sizes, run.recipe.epochs)]
        self.epoch = self.step = 0
        self.display, self.curves = None, ""

    def on_train_begin(self, logs=None):
        """Put the bar where it stays."""
        self.begun = time.perf_counter()
        self.started = None
        if is_live():
            from IPython.display import HTML, display

            self.display = display(HTML(""), display_id=True)
            self._show("Compiling the network …")

    def on_epoch_begin(self, epoch, logs=None):
        """Note where in the training this is."""
        self.epoch, self.step = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar, at most once a second."""
        # Of a call of several steps, `batch` is the first or the last one, by version and backend.
        self.step = min(self.step + self.model.steps_per_execution, self.params["steps"])
        now = time.perf_counter()
        if self.started is None:
            # The first step holds the compilation: the estimate counts from its end.
            self.started, self.first_share, self.last_update = now, self.share_done(), now
        if self.display and now - self.last_update >= SECONDS_BETWEEN_UPDATES:
            self.last_update = now
            left = format_clock(self.seconds_left())
            self._show(f"loss {logs['loss']:.3f} · accuracy {logs['accuracy']:.1%} · {left} left")

    def on_epoch_end(self, epoch, logs=None):
        """Print the epoch's line, and draw the curves with one more point."""
        validation = f", validation {logs['val_accuracy']:.1%}" if "val_accuracy" in logs else ""
        print(
            f"epoch {epoch + 1}/{self.params['epochs']}, loss {logs['loss']:.3f},"
            f" accuracy {logs['accuracy']:.1%}{validation},"
            f" {format_clock(self.seconds_left())} left".replace("%", " %"),
            flush=True,
        )
        if self.display:
            self.curves = _draw_curves(read_history(self.run), self.params["epochs"])
            self._show("done")

    def on_train_end(self, logs=None):
        """Say how long it took. The curves go: the next cell draws them for good."""
        self.epoch, self.curves = self.params["epochs"] - 1, ""
        took = format_clock(time.perf_counter() - self.begun)
        self._show(f"{took} in this session", share=1)

    def share_done(self):
        """Return the share of all work that is done, from 0 to 1."""
        current = self.costs[self.epoch] * self.step / self.params["steps"]
        return (sum(self.costs[: self.epoch]) + current) / sum(self.costs)

    def seconds_left(self):
        """Estimate the seconds to the end, or None before the first steps are over."""
        if self.started is None or self.share_done() <= self.first_share:
            return None
        share = self.share_done()
        return (1 - share) * (time.perf_counter() - self.started) / (share - self.first_share)

    def _show(self, text, share=None):
        """Show the bar with a text, and the curves of the finished epochs below."""
        if self.display is None:
            return
        from IPython.display import HTML

        share = self.share_done() if share is None else share
        text = f"epoch {self.epoch + 1} of {self.params['epochs']} · {text}"
        self.display.update(
            HTML(
                f'<progress value="{share:.4f}" max="1" aria-label="Training progress"'
                f' style="width: 16em">{share:.0%}</progress> <span>{html.escape(text)}</span>'
                f"{self.curves}"
            )
        )


def _draw_curves(history, epochs):
    """Return the curves so far as an image for HTML."""
    buffer = io.BytesIO()
    plot_training_curves(history, epochs).savefig(buffer, format="png", dpi=100)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<br><img src="data:image/png;base64,{encoded}" style="width: 720px; max-width: 100%"'
        ' alt="Loss and accuracy after each epoch so far">'
    )


def is_live():
    """Return whether this is a notebook's kernel that no pipeline runs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") and "CIFAR_PIPELINE" not in os.environ
