"""Runs one notebook headlessly: papermill, with a kernel that can be stopped and that is told apart
when it dies."""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import nbformat

from cifar_utils.files import write_text

# Sockets in files cannot collide as port numbers do (papermill#511); their path must be short.
LONGEST_SOCKET_PATH = 90
START_ATTEMPTS = 3
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
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)  # jupyter_client gives each kernel a session of its own

    def _execute(self):
        """Run papermill; note the error instead of raising it into the thread."""
        import papermill
        from nbclient.exceptions import DeadKernelError
        from papermill.exceptions import PapermillExecutionError

        _register_engine()
        self.target.parent.mkdir(parents=True, exist_ok=True)
        running = self.target.with_name(f".{self.target.stem}.running.ipynb")
        try:
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
        finally:
            if running.exists():
                notebook = nbformat.read(running, as_version=4)
                write_text(self.target, nbformat.writes(clean_notebook(notebook)) + "\n")
                running.unlink()


def _register_engine():
    """Teach papermill the engine that hands its client to a `NotebookRun`."""
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from traitlets.config import Config

    class StoppableEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, notebook_run=None, **_):
            for attempt in range(1, START_ATTEMPTS + 1):
                config = Config()
                if attempt < START_ATTEMPTS and _sockets_fit():
                    config.KernelManager.transport = "ipc"
                client = PapermillNotebookClient(
                    nb_man,
                    timeout=None,
                    startup_timeout=120,
                    kernel_name=kernel_name,
                    config=config,
                )
                notebook_run.client = client
                try:
                    return client.execute()
                except (RuntimeError, DeadKernelError):
                    started = any(cell.get("execution_count") for cell in nb_man.nb.cells)
                    if started or attempt == START_ATTEMPTS or notebook_run.stopping:
                        raise

    papermill_engines.register(PAPERMILL_ENGINE, StoppableEngine)


def _sockets_fit():
    """Return whether this system has file sockets and their path would be short enough."""
    from jupyter_core.paths import jupyter_runtime_dir

    name = f"kernel-{'x' * 36}-ipc-5"
    return sys.platform != "win32" and len(jupyter_runtime_dir()) + len(name) < LONGEST_SOCKET_PATH


def clean_notebook(notebook):
    """Remove what a saved notebook should not hold: widget state, timings, papermill's notes.

    Widget state makes GitHub refuse to render the page, and can carry a person's uploaded picture.

    Args:
        notebook: An nbformat 4 notebook; changed in place.

    Returns:
        The same notebook.
    """
    kept = {"kernelspec", "language_info"}
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in kept}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop("application/vnd.jupyter.widget-view+json", None):
                data["text/plain"] = "(interactive: run this notebook to use it)"
    return notebook
