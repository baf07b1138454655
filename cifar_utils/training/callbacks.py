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

POINTS_PER_EPOCH = 12  # of the loss curve
SECONDS_BETWEEN_UPDATES = 1.0  # often enough to look alive, rarely enough to cost nothing


class StepClock(keras.callbacks.Callback):
    """Counts how much of a training is done, and estimates how long the rest will take.

    Args:
        sizes: Side of the training images by epoch; a step's cost grows with its square. The last
            one is used for all later epochs.
    """

    def __init__(self, sizes=(1,)):
        super().__init__()
        self.sizes = sizes
        self.epoch = self.step = 0
        self.first_share = 0.0
        self.started = self.last_update = time.perf_counter()

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.started = None

    def on_epoch_begin(self, epoch, logs=None):
        """Note where in the training this is."""
        self.epoch, self.step = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        """Update what is shown, at most once a second."""
        # Of a call of several steps, `batch` is the first or the last one, by version and backend.
        done = self.step + self.model.steps_per_execution
        self.step = min(done, self.params["steps"])
        now = time.perf_counter()
        if self.started is None:
            # The first step holds the compilation: the estimate counts from its end.
            self.started, self.first_share, self.last_update = now, self.share_done(), now
        if now - self.last_update >= SECONDS_BETWEEN_UPDATES:
            self.last_update = now
            self.update(logs or {})

    def update(self, logs):
        """Show the current step; for subclasses."""

    def share_done(self):
        """Return the share of all work that is done, from 0 to 1."""
        costs = [
            self.sizes[min(epoch, len(self.sizes) - 1)] ** 2
            for epoch in range(self.params["epochs"])
        ]
        current = costs[self.epoch] * self.step / self.params["steps"]
        return (sum(costs[: self.epoch]) + current) / sum(costs)

    def seconds_left(self):
        """Estimate the seconds to the end, or None before the first steps are over."""
        share = self.share_done()
        done = share - self.first_share
        if self.started is None or done <= 0:
            return None
        return (1 - share) * (time.perf_counter() - self.started) / done


class Progress(StepClock):
    """Prints one line an epoch; in a notebook that a person runs, draws a bar and the curves too.

    The lines begin with "epoch 1/3, ". They are what a saved notebook and the pipeline's terminal
    show.

    Args:
        run: A `runs.Run`; after a resume, the curves start with its earlier epochs.
    """

    def __init__(self, run):
        super().__init__(spread_sizes(run.recipe.sizes, run.recipe.epochs))
        self.run = run
        self.display = None
        self.curves = ""

    def on_train_begin(self, logs=None):
        """Put the bar where it stays."""
        super().on_train_begin()
        self.begun = time.perf_counter()
        if is_live():
            from IPython.display import HTML, display

            self.display = display(HTML(""), display_id=True)
            self._show("Compiling the network …")

    def update(self, logs):
        """Move the bar."""
        self._show(
            f"epoch {self.epoch + 1} of {self.params['epochs']} · loss {logs['loss']:.3f}"
            f" · accuracy {logs['accuracy']:.1%} · {format_clock(self.seconds_left())} left"
        )

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
            self._show(f"epoch {epoch + 1} of {self.params['epochs']}")

    def on_train_end(self, logs=None):
        """Say how long it took. The curves go: the next cell draws them for good."""
        self.curves = ""
        took = format_clock(time.perf_counter() - self.begun)
        self._show(f"{self.params['epochs']} epochs, {took} in this session", share=1)

    def _show(self, text, share=None):
        if self.display is None:
            return
        from IPython.display import HTML

        share = self.share_done() if share is None else share
        self.display.update(
            HTML(
                f'<progress value="{share:.4f}" max="1" aria-label="Training progress"'
                f' style="width: 16em">{share:.0%}</progress> <span>{html.escape(text)}</span>'
                f"{self.curves}"
            )
        )


def is_live():
    """Return whether this is a notebook's kernel that no pipeline runs."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel") and "CIFAR_PIPELINE" not in os.environ


def _draw_curves(history, epochs):
    """Return the curves so far as an image for HTML."""
    buffer = io.BytesIO()
    plot_training_curves(history, epochs).savefig(buffer, format="png", dpi=100)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<br><img src="data:image/png;base64,{encoded}" style="width: 720px; max-width: 100%"'
        ' alt="Loss and accuracy after each epoch so far">'
    )


class LossCurve(keras.callbacks.Callback):
    """Keeps the mean loss of every stretch of an epoch, not only of the whole.

    Args:
        steps: Steps per epoch.
        points: Stretches per epoch.
    """

    def __init__(self, steps, points=POINTS_PER_EPOCH):
        super().__init__()
        self.steps, self.stretch, self.points = steps, steps / points, []

    def on_epoch_begin(self, epoch, logs=None):
        """Begin the epoch's first stretch."""
        self.epoch, self.done, self.last, self.total = epoch, 0, 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Close a stretch once it is long enough; `logs` holds the mean over the epoch so far."""
        # Of a call of several steps, `batch` is the first or the last one, by version and backend.
        self.done = done = min(self.done + self.model.steps_per_execution, self.steps)
        if done - self.last >= self.stretch or done == self.steps:
            total = float(logs["loss"]) * done
            middle = self.epoch + (self.last + done) / 2 / self.steps
            self.points.append((middle, (total - self.total) / (done - self.last)))
            self.last, self.total = done, total
