"""The five notebooks in order, with one set of parameters: `python -m cifar_utils run`."""

import contextlib
import fcntl
import signal
import sys
import time
from pathlib import Path

from cifar_utils.errors import CifarError, ParameterError, RunError, suggest
from cifar_utils.files import notebooks_dir, relative_to_project
from cifar_utils.kernels import CellFailed, KernelDied, NotebookRun
from cifar_utils.opening import create_run, refuse_conflicts
from cifar_utils.parameters import check_parameters
from cifar_utils.report import save_report
from cifar_utils.runs import STAGES, find_run, now_text
from cifar_utils.terminal import StageDisplay, describe_last_event, format_clock

GRACE_SECONDS = 15.0  # for a kernel to end its cell after an interrupt, before it is killed
ORPHAN_SECONDS = 10.0  # ipykernel notices within a second or two that its parent is gone


class Interrupted(CifarError):
    """The user, or the system, asked the pipeline to stop."""


def choose_stages(run, from_stage=None, only=None):
    """Choose what to execute.

    Args:
        run: An existing `Run`, or None for a new one.
        from_stage: Begin of a stage's name, such as "04": it and all after it.
        only: The same for one single stage.

    Returns:
        Names from `STAGES`; without `from_stage` and `only`, from the first that is not done.

    Raises:
        ParameterError: If no stage, or more than one, begins like this.
    """
    asked = only or from_stage
    if asked is None:
        if run is None:
            return list(STAGES)
        first = next((i for i, stage in enumerate(STAGES) if not run.is_done(stage)), len(STAGES))
        return list(STAGES[first:])
    found = [i for i, stage in enumerate(STAGES) if stage.startswith(asked)]
    if len(found) != 1:
        raise ParameterError(f"There is no single stage {asked!r}. {suggest(asked, STAGES)}")
    return [STAGES[found[0]]] if only else list(STAGES[found[0] :])


def prepare_run(name, parameters, resume=False, rerun=False):
    """Check everything that can be checked, then make or find the run.

    Args:
        name: Run name, or "" for one made from date, time and recipe.
        parameters: Parameters as the user gave them, by name.
        resume: Whether to continue an existing run.
        rerun: Whether part of an existing run is executed again.

    Returns:
        A `Run`.

    Raises:
        ParameterError: If a parameter is not valid; nothing has been made by then.
        RunError: If the run exists and should not, does not and should, or has other parameters.
    """
    given = check_parameters({"run_name": name or "", **parameters})
    given.pop("run_name")
    for option in ("model_path", "image_path"):
        if given.get(option):
            # A kernel may start in another folder than the one this was typed in.
            given[option] = str(Path(given[option]).expanduser().resolve())
            if not Path(given[option]).exists():
                raise ParameterError(f"There is no file {given[option]} ({option}).")
    if not (resume or rerun):
        return create_run(name, {"recipe": "quick", "dataset": "auto", "seed": 0} | given)
    if not name:
        raise ParameterError("--resume, --from and --only need --name: which run?")
    run = find_run(name)
    refuse_conflicts(run, given)
    run.update(parameters=given)
    return run


def run_pipeline(run, stages, stream=sys.stdout):
    """Execute stages of a run, showing progress, until all are done or something stops it.

    Args:
        run: A `Run` from `prepare_run`.
        stages: Names from `STAGES`, in order.
        stream: Where progress is shown: a live line on a terminal, else plain lines.

    Raises:
        CifarError: If a stage failed; says what happened, where the executed notebook is, and what
            to do next. `run.json` says "failed".
        Interrupted: After Ctrl-C or SIGTERM; the kernel is gone by then, and `run.json` says
            "interrupted".
    """
    with _lock(run), _catch_signals() as signals:
        _wait_for_orphan(run)
        run.update(error=None)
        for stage in stages:
            notebook = NotebookRun(
                notebooks_dir() / f"{stage}.ipynb",
                run.path(f"notebooks/{stage}.ipynb"),
                _parameters_of(stage, run),
            )
            display = StageDisplay(run, stage, STAGES.index(stage) + 1, len(STAGES), stream)
            try:
                _watch(notebook.start(), display, signals)
                notebook.result()
                display.close("done")
            except BaseException as error:
                display.close("stopped")
                raise _explain(run, stage, error, bool(signals)) from error


def _parameters_of(stage, run):
    """Return the run's parameters that a stage's notebook takes, and its name."""
    import papermill

    known = papermill.inspect_notebook(str(notebooks_dir() / f"{stage}.ipynb"))
    given = {name: value for name, value in run.parameters.items() if name in known}
    return given | {"run_name": run.name}


def _watch(notebook, display, signals):
    """Follow a running notebook; stop its kernel if a signal came."""
    while notebook.is_alive():
        notebook.join(0.2)
        display.refresh()
        if signals:
            notebook.interrupt()
            deadline = time.monotonic() + GRACE_SECONDS
            while notebook.is_alive() and time.monotonic() < deadline and len(signals) < 2:
                notebook.join(0.2)
            notebook.kill()
            notebook.join(GRACE_SECONDS)


def _explain(run, stage, error, interrupted):
    """Note in `run.json` and the report how a stage ended; return the error that tells the user."""
    told = _say_what_happened(run, stage, error, interrupted)
    status = "interrupted" if interrupted else "failed"
    run.update(status=status, end=now_text(), owner=None, error=str(told))
    run.update(stages={stage: {"status": status}})
    run.log_event(status, stage=stage)
    with contextlib.suppress(Exception):  # the reason matters more than its page
        save_report(run)
    return told


def _say_what_happened(run, stage, error, interrupted):
    """Put a stage's end into words, with the next step."""
    resume = f"python -m cifar_utils run --name {run.name} --resume"
    executed = relative_to_project(run.path(f"notebooks/{stage}.ipynb"))
    if interrupted:
        return Interrupted(
            f"Stopped in {stage}; every finished stage and epoch is kept. Continue: {resume}"
        )
    if isinstance(error, KernelDied):
        last = describe_last_event(run.path("events.jsonl"))
        return CifarError(
            f"The kernel of {stage} died, most likely because memory ran out. Last sign of life:"
            f" {last}. Close other programs, or take a smaller `-p batch_size` under a new --name;"
            f" to go on as before: {resume}"
        )
    if isinstance(error, CellFailed):
        return CifarError(
            f"{stage} failed. {error}\nThe cell and its traceback: {executed}\nOnce it is mended:"
            f" {resume}"
        )
    return CifarError(f"{stage} could not be run: {error!r}. Once it is mended: {resume}")


@contextlib.contextmanager
def _catch_signals():
    """Collect SIGINT, SIGTERM and SIGHUP in a list instead of dying of them."""
    caught = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda number, _: caught.append(number)) for n in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _lock(run):
    """Hold the run for this pipeline; the system lets go of it when the process ends."""
    with open(run.path(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"Run {run.name!r} is being executed by another process. Wait for it, stop it, or"
                " take another --name."
            ) from None
        yield


def _wait_for_orphan(run):
    """Give the kernel of a pipeline that was killed a moment to notice it and end."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while run.is_busy():
        if time.monotonic() > deadline:
            raise RunError(
                f"Run {run.name!r} is in use by process {run.info['owner']['pid']}. Wait for it,"
                " stop it, or take another --name."
            )
        time.sleep(0.2)


def describe_result(run, seconds):
    """Say how a finished run ended: data set, accuracy with its interval, report."""
    report = save_report(run)
    metrics = run.read_json("metrics.json")
    info = run.info["dataset"]
    lines = [f"Run {run.name}: {format_clock(seconds)} in all"]
    if info["name"] == "synthetic":
        lines.append("Data set: SYNTHETIC DATA, not CIFAR-10 (see `python -m cifar_utils data`)")
    else:
        kind = "the official archive" if info["official"] else "not the official archive"
        lines.append(f"Data set: CIFAR-10 from {info['source']} ({kind})")
    if metrics:
        accuracy = metrics["accuracy"]
        lines.append(
            f"Test accuracy: {accuracy['value']:.2%} (95 % interval {accuracy['low']:.2%} to"
            f" {accuracy['high']:.2%}, n = {metrics['n']:,})"
        )
    return "\n".join([*lines, f"Report: {relative_to_project(report)}"])


def refresh_notebooks(stream=sys.stdout):
    """Execute the committed notebooks in place, with the defaults that a person would get.

    All five are executed before the first is replaced, so that a failure leaves them as they were.

    Args:
        stream: Where progress is shown.

    Returns:
        The paths that were written.

    Raises:
        CifarError: If a notebook failed.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder, _catch_signals() as signals:
        done = []
        for stage in STAGES:
            print(f"{stage} …", file=stream, flush=True)
            target = Path(folder) / f"{stage}.ipynb"
            notebook = NotebookRun(notebooks_dir() / target.name, target, {}).start()
            _watch(notebook, _Silent(), signals)
            try:
                notebook.result()
            except (CellFailed, KernelDied) as error:
                raise CifarError(f"{stage} failed; no notebook was changed. {error}") from error
            done.append(target)
        for target in done:
            (notebooks_dir() / target.name).write_bytes(target.read_bytes())
    return [notebooks_dir() / target.name for target in done]


class _Silent:
    """A display that shows nothing."""

    def refresh(self):
        """Do nothing."""
