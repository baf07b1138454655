"""Executes one notebook headlessly with papermill, and tells apart what ended it."""

import contextlib
import logging
import os
import signal
import tempfile
from pathlib import Path

import nbformat
import psutil

from cifar_utils.paths import write_text

# How to talk to a kernel, tried in turn until one starts. Sockets that are files cannot collide as
# port numbers do (papermill#511), but the systems limit their paths to about 100 bytes.
TRANSPORTS = ("ipc", "ipc", "tcp")
START_SECONDS = 120  # for a kernel on a machine that is busy with other things
# papermill gives up if a kernel that answered is silent for this long; its own 4 s are too short on
# a machine whose cores are all training.
OUTPUT_SECONDS = 60
KEPT_METADATA = {"kernelspec", "language_info"}
KEPT_CELL_METADATA = {"tags", "jupyter", "cellView"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class KernelDied(Exception):
    """The kernel's process ended while it was running a cell."""


class CellFailed(Exception):
    """A cell raised: the text says what."""


def execute_notebook(source, target, parameters=None, on_line=None):
    """Execute a notebook in a kernel of its own, to its end.

    The executed copy goes to `target`, also after an error, by rename. `on_line` is called with
    each line that a cell prints, as soon as it is printed. Ctrl-C, or another signal under
    `stop_on_signals`, ends the kernel and raises KeyboardInterrupt.

    Raises:
        CellFailed: If a cell raised.
        KernelDied: If the kernel's process ended before the notebook did.
        RuntimeError: If no kernel could be started.
    """
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    for name in ("papermill", "traitlets"):  # they only repeat what the exceptions say
        logging.getLogger(name).setLevel(logging.CRITICAL)
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    running = target.with_name(f".{target.stem}.running.ipynb")
    try:
        _execute_with_retry(source, running, parameters, on_line)
    except PapermillExecutionError as error:
        raise CellFailed(f"{error.ename}: {error.evalue}".rstrip(": ")) from None
    except DeadKernelError as error:
        raise KernelDied(str(error)) from None
    except KeyboardInterrupt:
        # nbclient's tasks are left without their kernel, and would say so at exit.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise
    finally:
        if running.exists():
            notebook = clean_notebook(nbformat.read(running, as_version=4))
            write_text(target, nbformat.writes(notebook) + "\n")
            running.unlink()


def _execute_with_retry(source, running, parameters, on_line):
    """Execute a notebook; start its kernel again if that failed before the first cell ran."""
    import papermill
    from traitlets.config import Config

    begun = []
    for transport in TRANSPORTS:
        with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
            options = {"transport": transport, "connection_file": f"{folder}/k.json"}
            try:
                return papermill.execute_notebook(
                    str(source),
                    str(running),
                    parameters=parameters or {},
                    progress_bar=False,
                    stdout_file=_Lines(on_line) if on_line else None,
                    start_timeout=START_SECONDS,
                    iopub_timeout=OUTPUT_SECONDS,
                    on_cell_execute=lambda cell, cell_index: begun.append(cell_index),
                    # When its cells are done so is its work. A kernel that leaves by itself may
                    # find its sockets closed, and print a traceback after a run that went well.
                    shutdown_kernel="immediate",
                    config=Config({"KernelManager": options}),
                )
            except RuntimeError:  # nbclient's DeadKernelError is one
                if begun or transport == TRANSPORTS[-1]:
                    raise
            finally:
                for child in psutil.Process().children():  # what an interrupt leaves behind
                    with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                        if any(folder in word for word in child.cmdline()):
                            os.killpg(child.pid, signal.SIGKILL)  # it leads a session of its own


class _Lines:
    """A file for papermill to write a notebook's stdout to; passes whole lines on."""

    def __init__(self, on_line):
        self.on_line, self.rest = on_line, ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.on_line(line)

    def flush(self):
        pass


@contextlib.contextmanager
def stop_on_signals():
    """Let SIGTERM and SIGHUP do what Ctrl-C does: raise KeyboardInterrupt in the main thread.

    Only once: the kernel is being ended then, and a second Ctrl-C must not leave it behind. A
    signal that was ignored stays ignored: `nohup` asks for that.
    """
    before = {}

    def interrupt(number, frame):
        for caught in before:
            signal.signal(caught, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clean_notebook(notebook):
    """Remove what a saved notebook should not hold: widget state, timings, papermill's notes.

    Widget state makes GitHub refuse to render the page, and can carry a person's uploaded photo.
    """
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in KEPT_METADATA}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        kept = {k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA}
        kept.get("jupyter", {}).pop("outputs_hidden", None)  # papermill writes it everywhere
        cell.metadata = {k: v for k, v in kept.items() if v}
        for output in cell.get("outputs", []):
            if output.get("data", {}).pop(WIDGET_VIEW, None):
                output.data["text/plain"] = "(interactive: run this notebook to use it)"
    return notebook
