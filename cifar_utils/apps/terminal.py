"""What a person sees in the terminal while a notebook runs, read from the run's events."""

import contextlib
import json
import time

from tqdm import tqdm

from cifar_utils.text import format_clock


class EventReader:
    """Gives each line of a growing `events.jsonl` once, beginning with what is new.

    Args:
        path: The file; need not exist yet.
    """

    def __init__(self, path):
        self.path = path
        self.position = path.stat().st_size if path.exists() else 0

    def read_new(self):
        """Return the events since the last call, oldest first; a half-written line waits."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.position)
            complete = file.read().rpartition(b"\n")[0]
        if not complete:
            return []
        self.position += len(complete) + 1
        events = []
        for line in complete.split(b"\n"):
            with contextlib.suppress(ValueError):  # a kernel that was killed left half a line
                events.append(json.loads(line))
        return events


def describe_last_event(path):
    """Say the last thing that a run's `events.jsonl` tells, for a kernel that died silently."""
    reader = EventReader(path)
    reader.position = 0
    events = reader.read_new()
    if not events:
        return "none"
    last = events[-1]
    return describe_event(last) if "epochs" in last else f"{last['event']} of {last['stage']}"


class StageDisplay:
    """One stage's progress: a live line on a terminal, plain lines elsewhere.

    Args:
        run: A `runs.Run`.
        stage: Its name.
        number: Its number, from 1.
        total: How many stages there are.
        stream: A text stream; a terminal gets a bar.
    """

    def __init__(self, run, stage, number, total, stream):
        self.label = f"[{number}/{total}] {stage}"
        self.events = EventReader(run.path("events.jsonl"))
        self.stream, self.started = stream, time.monotonic()
        self.bar = self.validation = None
        with self._unless_nobody_listens():
            if stream is not None and stream.isatty():
                self.bar = tqdm(
                    desc=self.label,
                    total=1.0,
                    file=stream,
                    leave=False,
                    dynamic_ncols=True,
                    bar_format="{desc} {elapsed}",
                )
            else:
                self._print(self.label)

    def refresh(self):
        """Show what has happened since the last call."""
        with self._unless_nobody_listens():
            for event in self.events.read_new():
                if event["event"] in ("step", "epoch"):
                    self._show(event)
            if self.bar is not None:
                self.bar.refresh()

    def close(self, how):
        """Replace the live line by a final one.

        Args:
            how: "done" or "stopped".
        """
        self.refresh()
        with self._unless_nobody_listens():
            if self.bar is not None:
                self.bar.close()
            took = format_clock(time.monotonic() - self.started)
            self._print(f"{self.label}: {how} after {took}")

    def _show(self, event):
        """Show one event of training."""
        if self.bar is None:
            if event["event"] == "epoch":
                self._print(f"      {describe_event(event)}")
            return
        # A step knows no validation accuracy: the last epoch's stays in sight.
        self.validation = event.get("val_accuracy", self.validation)
        if self.validation is not None:
            event = {**event, "val_accuracy": self.validation}
        # Not as tqdm's postfix: it puts a comma in front.
        self.bar.bar_format = "{desc} {percentage:3.0f}% |{bar:9}| " + describe_event(
            event, short=True
        )
        self.bar.n = event["share"]

    def _print(self, text):
        if self.stream is not None:
            print(text, file=self.stream, flush=True)

    @contextlib.contextmanager
    def _unless_nobody_listens(self):
        """Fall silent once the terminal is closed or the pipe's reader gone: the run goes on."""
        try:
            yield
        except (OSError, ValueError):
            self.stream = self.bar = None


def describe_event(event, short=False):
    """Say a training event in words: epoch, loss, accuracy, time left.

    Args:
        event: A "step" or "epoch" line of `events.jsonl`.
        short: Whether it has to fit beside a bar into 80 columns.
    """
    parts = [f"epoch {event['epoch']}/{event['epochs']}"]
    if "loss" in event:
        parts.append(f"loss {event['loss']:.3f}")
    if "accuracy" in event and not (short and "val_accuracy" in event):
        parts.append(f"accuracy {event['accuracy']:.1%}")
    if "val_accuracy" in event:
        parts.append(f"{'val' if short else 'validation'} {event['val_accuracy']:.1%}")
    return ", ".join([*parts, f"{format_clock(event.get('seconds_left'))} left"])
