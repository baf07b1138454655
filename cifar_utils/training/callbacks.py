"""Progress for people: events for the terminal, a live bar and curves for a notebook."""

import html
import io
import time

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import spread_sizes
from cifar_utils.plots.training import plot_training_curves
from cifar_utils.text import format_clock
from cifar_utils.training.checkpoint import read_history

SECONDS_BETWEEN_UPDATES = 1.0  # often enough to look alive, rarely enough to cost nothing


class StepClock(keras.callbacks.Callback):
    """Knows how much of a training is done and how long the rest will take.

    Args:
        sizes: Side of the training images by epoch; a step's cost grows with its square. The last
            one holds for all later epochs.
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
        """Show or log the current step; for subclasses."""

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


class LogEvents(StepClock):
    """Writes `events.jsonl`: one line per epoch, and about one a second in between.

    Args:
        run: A `runs.Run`.
        epochs: Epochs in all.
        steps: Steps per epoch.
        sizes: See `StepClock`.
    """

    def __init__(self, run, epochs, steps, sizes=(1,)):
        super().__init__(sizes)
        self.run, self.total = run, {"epochs": epochs, "steps": steps}

    def update(self, logs):
        """Log a step."""
        self._log("step", logs)

    def on_epoch_end(self, epoch, logs=None):
        """Log an epoch."""
        self._log("epoch", logs)

    def _log(self, event, logs):
        values = {name: round(float(value), 5) for name, value in logs.items()}
        left = self.seconds_left()
        self.run.log_event(
            event,
            epoch=self.epoch + 1,
            step=self.step,
            **self.total,
            **values,
            share=round(self.share_done(), 4),
            seconds_left=None if left is None else round(left, 1),
        )


class LiveTraining(StepClock):
    """A progress bar and the curves so far, redrawn in place below a notebook cell.

    Args:
        run: A `runs.Run`; after a resume, the curves start with its earlier epochs.
    """

    def __init__(self, run):
        super().__init__(spread_sizes(run.recipe.sizes, run.recipe.epochs))
        self.run = run
        self.bar = self.curves = None

    def on_train_begin(self, logs=None):
        """Put the bar where it stays."""
        super().on_train_begin()
        from IPython.display import HTML, display

        self.begun = time.perf_counter()
        self.bar = display(HTML(self._render("Compiling the network …")), display_id=True)

    def update(self, logs):
        """Move the bar."""
        self._show(
            f"epoch {self.epoch + 1} of {self.params['epochs']} · loss {logs['loss']:.3f}"
            f" · accuracy {logs['accuracy']:.1%} · {format_clock(self.seconds_left())} left"
        )

    def on_epoch_end(self, epoch, logs=None):
        """Draw the curves with one more point."""
        from IPython.display import Image, display

        buffer = io.BytesIO()
        figure = plot_training_curves(read_history(self.run), self.params["epochs"])
        figure.savefig(buffer, format="png", dpi=100)
        picture = Image(buffer.getvalue(), alt="Loss and accuracy after each epoch so far")
        if self.curves is None:
            self.curves = display(picture, display_id=True)
        else:
            self.curves.update(picture)

    def on_train_end(self, logs=None):
        """Say how long it took; the curves' final form is the next figure's job."""
        took = format_clock(time.perf_counter() - self.begun)
        self._show(f"{self.params['epochs']} epochs, {took} in this session", share=1)

    def _show(self, text, share=None):
        from IPython.display import HTML

        self.bar.update(HTML(self._render(text, share)))

    def _render(self, text, share=None):
        text = html.escape(text)
        share = self.share_done() if share is None else share
        return (
            f'<progress value="{share:.4f}" max="1" aria-label="Training progress"'
            f' style="width: 16em">{share:.0%}</progress> <span>{text}</span>'
        )
