"""Runs one notebook headlessly: papermill, with a kernel that can be stopped and that is told apart
when it dies."""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat

from cifar_utils.apps.cleaning import clean_notebook
from cifar_utils.paths import write_text

# Sockets in files cannot collide as port numbers do (papermill#511); systems limit their path's
# length, to 104 bytes on macOS.
LONGEST_SOCKET_PATH = 100
START_ATTEMPTS = 3
# For a kernel to end its cell before it is killed; a container has 10 s to stop in.
GRACE_SECONDS = 8.0
PAPERMILL_ENGINE = "cifar_utils"


class KernelDied(Exception):
    """The kernel's process ended while it was running a cell."""


class CellFailed(Exception):
    """A cell raised: `name` and `message` of its exception."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}" if message else name)
        self.name, self.message = name, message


class NotebookRun:
    """One notebook, executed in a thread of its own so that the main thread can watch and stop it.

    Args:
        source: The notebook to execute; never written.
        target: Where the executed copy goes, also after an error; written at the end, by rename.
        parameters: For papermill to inject.
    """

    def __init__(self, source, target, parameters):
        self.source, self.target, self.parameters = Path(source), Path(target), parameters
        self.error = self.client = None
        self.stopping = False
        self.thread = threading.Thread(target=self._execute, daemon=True)

    def start(self):
        """Start the kernel and the first cell."""
        self.thread.start()
        return self

    def is_alive(self):
        """Return whether the notebook still runs."""
        return self.thread.is_alive()

    def join(self, timeout=None):
        """Wait for the end, for at most `timeout` seconds."""
        self.thread.join(timeout)

    def result(self):
        """Wait for the end.

        Raises:
            CellFailed: If a cell raised.
            KernelDied: If the kernel went away.
            Exception: Whatever else kept the notebook from running.
        """
        self.thread.join()
        if self.error:
            raise self.error

    def interrupt(self):
        """Send the kernel what Ctrl-C sends: the running cell raises KeyboardInterrupt."""
        self.stopping = True
        self._signal(signal.SIGINT)

    def kill(self):
        """End the kernel and whatever it started, at once."""
        self.stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number):
        provisioner = getattr(getattr(self.client, "km", None), "provisioner", None)
        pid = getattr(provisioner, "pid", None)
        if pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)  # jupyter_client gives each kernel a session of its own

    def _execute(self):
        """Run papermill; note the error instead of raising it into the thread."""
        import papermill
        from nbclient.exceptions import DeadKernelError
        from papermill.exceptions import PapermillExecutionError

        _register_engine()
        running = self.target.with_name(f".{self.target.stem}.running.ipynb")
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            papermill.execute_notebook(
                str(self.source),
                str(running),
                parameters=self.parameters,
                engine_name=PAPERMILL_ENGINE,
                progress_bar=False,
                notebook_run=self,
            )
        except PapermillExecutionError as error:
            self.error = CellFailed(error.ename, error.evalue)
        except DeadKernelError as error:
            self.error = KernelDied(str(error))
        except BaseException as error:
            self.error = error
        try:
            self._keep(running)
        except Exception as error:
            self.error = self.error or error

    def _keep(self, running):
        """Clean what papermill wrote, and give it its final name."""
        if running.exists():
            notebook = nbformat.read(running, as_version=4)
            write_text(self.target, nbformat.writes(clean_notebook(notebook)) + "\n")
            running.unlink()


def _register_engine():
    """Teach papermill the engine that hands its client to a `NotebookRun`."""
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class StoppableEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, notebook_run=None, **_):
            for attempt in range(1, START_ATTEMPTS + 1):
                with _socket_config(use_files=attempt < START_ATTEMPTS) as config:
                    client = PapermillNotebookClient(
                        nb_man,
                        timeout=None,
                        startup_timeout=120,
                        kernel_name=kernel_name,
                        config=config,
                        # When its cells are done so is its work, but for `atexit` hooks. Leaving by
                        # itself, ipykernel may find its sockets closed and print a traceback after
                        # a run that went well (as ipykernel#1518, in `IOPubThread.schedule`).
                        shutdown_kernel="immediate",
                    )
                    notebook_run.client = client
                    try:
                        return client.execute()
                    except (RuntimeError, DeadKernelError):
                        started = any(cell.get("execution_count") for cell in nb_man.nb.cells)
                        if started or attempt == START_ATTEMPTS or notebook_run.stopping:
                            raise

    papermill_engines.register(PAPERMILL_ENGINE, StoppableEngine)


@contextlib.contextmanager
def _socket_config(use_files):
    """Give a kernel sockets in a folder of its own, where the system has such sockets."""
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        config = Config()
        connection_file = Path(folder) / "k.json"
        if use_files and sys.platform != "win32" and len(folder) + 10 < LONGEST_SOCKET_PATH:
            config.KernelManager.transport = "ipc"
            config.KernelManager.connection_file = str(connection_file)
        yield config


@contextlib.contextmanager
def catch_signals():
    """Collect SIGINT, SIGTERM and SIGHUP in a list instead of dying of them.

    A signal that was ignored stays ignored: `nohup` asks for that.
    """
    caught, before = [], {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch_notebook(notebook, signals, refresh=lambda: None):
    """Follow a running notebook to its end; stop its kernel if a signal came or anything failed.

    Args:
        notebook: A started `NotebookRun`.
        signals: The list from `catch_signals`; a second signal shortens the wait.
        refresh: Called several times a second.

    Raises:
        Exception: What `refresh` or the notebook raised; see `NotebookRun.result`.
    """
    deadline = None
    try:
        while notebook.is_alive():
            notebook.join(0.2)
            refresh()
            if signals:
                deadline = deadline or time.monotonic() + GRACE_SECONDS
                if len(signals) > 1 or time.monotonic() > deadline:
                    break
                # Again and again: a kernel that is just starting, or between two cells, misses it.
                notebook.interrupt()
                notebook.join(0.5)
        if not signals:
            notebook.result()
    finally:
        while notebook.is_alive():
            notebook.kill()
            notebook.join(0.5)
    notebook.result()
